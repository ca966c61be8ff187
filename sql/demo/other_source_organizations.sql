-- Takes: organization_ids uuid[]. Gives: whether the source serves anybody else.
SELECT EXISTS (SELECT FROM orchestration.organizations WHERE id <> ALL (%(organization_ids)s::uuid[]))

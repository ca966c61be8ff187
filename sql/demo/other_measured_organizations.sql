-- Takes: organization_ids uuid[]. Gives: whether anybody else has been measured in this database.
SELECT EXISTS (SELECT FROM analytics.organizations WHERE id <> ALL (%(organization_ids)s::uuid[]))

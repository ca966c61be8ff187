"""Whatever is wrong is found, said, and gone when the owner has run what was printed."""

import pytest
from psycopg import Connection

from tests.postgres.doctor.conftest import Doctor, Mend, found
from tests.support.prisma_application import plant_job, plant_tenant

# What somebody did to the application's tables before there were views, and what of it is found.
BEFORE = {
    "missing_column": 'ALTER TABLE "Job" DROP COLUMN "updatedAt"',
    "missing_column, of an organization": 'ALTER TABLE "Job" DROP COLUMN "organizationId"',
    "nullable_column": 'ALTER TABLE "Job" ALTER COLUMN "updatedAt" DROP NOT NULL;'
    ' UPDATE "Job" SET "updatedAt" = NULL',
    "zoneless_times": "",
    "ids_are_not_uuids": "",
    "no_contract_view": "",
    "missing_privilege": "",
    "missing_index": 'DROP INDEX "Job_updatedAt_execmetrics_idx"',
    "unknown_status": """ALTER TYPE "JobStatus" ADD VALUE 'SUCCEEDED'""",
    "sessions_not_in_utc": "ALTER DATABASE {database} SET timezone = 'Asia/Kolkata'",
    "hidden_rows": 'ALTER TABLE "Client" ENABLE ROW LEVEL SECURITY;'
    ' ALTER TABLE "Client" FORCE ROW LEVEL SECURITY',
}

OWN_VIEW = "DROP VIEW orchestration.workflows; CREATE VIEW orchestration.workflows AS SELECT {columns}"
OF_THE_TABLE = 't.xmin AS xmin, t.tableoid AS tableoid FROM "Workflow" AS t'

# The same when there were views.
AFTERWARDS = {
    "missing_index": 'DROP INDEX "Job_completedAt_execmetrics_idx"',
    "missing_index, another instead": 'DROP INDEX "Job_id_execmetrics_idx";'
    ' CREATE INDEX "Job_id_execmetrics_idx" ON "Job" ("status")',
    "unknown_status": """ALTER TYPE "JobStatus" ADD VALUE 'ARCHIVED'""",
    "missing_privilege": 'REVOKE SELECT (client_id) ON orchestration.jobs FROM "{reader}"',
    "missing_privilege, of the schema": 'REVOKE USAGE ON SCHEMA orchestration FROM "{reader}"',
    "view_asks_its_reader": "ALTER VIEW orchestration.clients SET (security_invoker = true)",
    "column_left_out": 'ALTER TABLE "Client" ADD COLUMN "deletedAt" TIMESTAMP(3)',
    "nullable_column": 'ALTER TABLE "Workflow" ALTER COLUMN "organizationId" DROP NOT NULL',
    "no_row_version": OWN_VIEW.format(
        columns='md5(id)::uuid AS id, md5("organizationId")::uuid AS organization_id, name,'
        ' NULL::timestamptz AS deleted_at FROM "Workflow"'
    ),
    "zoneless_times": OWN_VIEW.format(
        columns='md5(id)::uuid AS id, md5("organizationId")::uuid AS organization_id, name,'
        f' "deletedAt" AS deleted_at, {OF_THE_TABLE}'
    )
    + '; GRANT SELECT ON orchestration.workflows TO "{reader}"',
    "ids_are_not_uuids": OWN_VIEW.format(
        columns='id, "organizationId" AS organization_id, name, NULL::timestamptz AS deleted_at,'
        f" {OF_THE_TABLE}"
    ),
    "missing_column": OWN_VIEW.format(columns=f"md5(id)::uuid AS id, name, {OF_THE_TABLE}"),
    "missing_column, from a table that lacks it": "DROP VIEW orchestration.jobs;"
    ' ALTER TABLE "Job" DROP COLUMN "completedAt";'
    ' CREATE VIEW orchestration.jobs AS SELECT t.*, t.xmin AS xmin, t.tableoid AS tableoid FROM "Job" AS t',
}


@pytest.mark.every_postgres
def test_what_is_found_is_mended_by_what_is_printed(
    doctor: Doctor, mend: Mend, source: Connection, reader: str
) -> None:
    """One thing after another is spoilt, found with its SQL, and found no more when that was run."""
    tenant = plant_tenant(source)
    job = plant_job(source, tenant)
    named = {"database": source.info.dbname, "reader": reader}
    for with_views, spoilt in ((False, BEFORE), (True, AFTERWARDS)):
        for what, done in spoilt.items():
            if not with_views:
                source.execute("DROP SCHEMA IF EXISTS orchestration CASCADE")
            for statement in filter(None, done.split(";")):
                source.execute(statement.format(**named))

            told = found(doctor("--json"))
            mend()
            left = doctor("--json")

            finding = told.get(what.partition(",")[0], {})
            assert all(finding.get(part) for part in ("sql", "where", "why")), (what, told)
            assert (left.exit_code, left.document["findings"]) == (0, []), what
    organizations = source.execute('SELECT "organizationId" FROM "Job" WHERE "id" = %s', [job]).fetchall()
    assert organizations == [(tenant.organization,)]

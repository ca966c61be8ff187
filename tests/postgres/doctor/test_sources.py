"""Sources that are not quite as Prisma makes them: other names, other types, several candidates."""

from hashlib import md5
from itertools import count
from uuid import UUID

import pytest
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from tests.postgres.doctor.conftest import Doctor, Mend, found
from tests.support.prisma_application import plant_job, plant_tenant

MAPPED = """
    ALTER TABLE "Organization" RENAME TO organizations;
    ALTER TABLE "Workflow" RENAME TO workflows;
    ALTER TABLE "Client" RENAME TO clients;
    ALTER TABLE "Job" RENAME TO jobs;
    ALTER TABLE jobs RENAME "organizationId" TO organization_id;
    ALTER TABLE jobs RENAME "completedAt" TO completed_at;
    ALTER TABLE jobs ALTER completed_at TYPE timestamptz(6) USING completed_at AT TIME ZONE 'UTC'
"""


def test_names_are_guessed_whatever_their_case_and_underscores(
    doctor: Doctor, mend: Mend, source: Connection
) -> None:
    """Tables and columns that are @@map'ed are found, and times that have a zone are passed on."""
    source.execute(MAPPED)

    mend()
    document = doctor("--json").document

    assert document["findings"] == []
    jobs = document["tables"][-1]
    assert jobs["read_from"] == '"public"."jobs"'
    read = [jobs["columns"][name] for name in ("organization_id", "workflow_id")]
    assert read == ["organization_id", "workflowId"]
    assert "timezone" not in definition(source).partition("completed_at")[0].rpartition(",")[2]


def test_ids_that_are_numbers_and_ids_that_are_uuids_are_told_apart_and_joined(
    mend: Mend, source: Connection
) -> None:
    """A number is hashed like any text, on both sides of its foreign key; a column of UUIDs is passed on."""
    source.execute("""
        ALTER TABLE "Job" DROP CONSTRAINT "Job_clientId_fkey";
        ALTER TABLE "Client" ALTER "id" TYPE integer USING 7;
        ALTER TABLE "Job" ALTER "clientId" TYPE integer USING 7, ALTER "id" TYPE uuid USING "id"::uuid
    """)
    numbers = count(4)
    tenant = plant_tenant(source, new_id=lambda: str(next(numbers)))
    plant_job(source, tenant, id="11111111-2222-4333-8444-555555555555")

    mend()

    assert source.execute(
        "SELECT j.id::text, j.client_id = c.id, c.id = md5('7')::uuid"
        " FROM orchestration.jobs AS j JOIN orchestration.clients AS c ON c.id = j.client_id"
    ).fetchall() == [("11111111-2222-4333-8444-555555555555", True, True)]


def test_any_text_is_an_id(mend: Mend, source: Connection) -> None:
    """A UUID as PostgreSQL prints it stays what it is; whatever else looks like one, or not, is hashed."""
    kept = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff"
    others = [kept.upper(), kept.replace("-", ""), f"{{{kept}}}", f"{kept} ", f"{kept}\n", kept[:-1] + "g"]
    others += [kept.replace("-", "_"), "-" * 36, "0" * 36, kept[:-1] + "-", "", "7", "é" * 36, "' OR \\"]
    tenant = plant_tenant(source)
    for text in (kept, *others):
        plant_job(source, tenant, id=text)

    mend()

    ids = source.execute("SELECT id FROM orchestration.jobs").fetchall()
    assert {each.hex for (each,) in ids} == {
        UUID(kept).hex,
        *(md5(text.encode()).hexdigest() for text in others),
    }


def test_what_could_be_several_tables_is_asked_for(doctor: Doctor, mend: Mend, source: Connection) -> None:
    """Nothing is guessed: both are named, and the one that is said is read."""
    source.execute('CREATE TABLE jobs AS TABLE "Job"')

    ended = doctor("--json")
    table = found(ended)["ambiguous_table"]
    mend("--table", "jobs=Job")

    assert (ended.exit_code, table["where"]) == (1, '"public"."Job", "public"."jobs"')
    assert "--table jobs=Job" in table["remedy"]
    assert not [line for line in ended.document["sql"] if "orchestration.jobs" in line.replace('"', "")]
    # What the view reads is known from then on.
    assert doctor("--json").document["findings"] == []


def test_what_could_be_several_columns_is_asked_for(doctor: Doctor, mend: Mend, source: Connection) -> None:
    """A column left over from a renaming is not taken for the one in use, nor the other way round."""
    source.execute('ALTER TABLE "Job" ADD COLUMN completed_at timestamptz')

    told = found(doctor("--json"))
    mend("--column", "jobs.completed_at=completedAt")

    assert "completed_at" in told["ambiguous_column"]["where"]
    view = told["no_contract_view"]
    assert (view["where"], view["sql"]) == ('"orchestration"."jobs"', [])
    assert doctor("--json").document["findings"] == []
    assert '"completedAt"' in definition(source)


def test_what_was_said_before_holds_until_it_is_forgotten(
    doctor: Doctor, mend: Mend, source: Connection
) -> None:
    """A view that is made anew for a new label keeps the columns and the statuses that somebody chose."""
    source.execute('ALTER TABLE "Job" RENAME "initiatorType" TO "triggeredBy"')
    source.execute('ALTER TABLE "Workflow" RENAME name TO "a, FROM ""title"""')
    for label in ("TIMED_OUT", "it''s"):
        source.execute(f"""ALTER TYPE "JobStatus" ADD VALUE '{label}'""")
    mend(
        *("--column", "jobs.initiator_type=triggeredBy", "--column", 'workflows.name=a, FROM "title"'),
        *("--status", "TIMED_OUT=FAILED", "--status", "it's=COMPLETED"),
    )
    source.execute("""ALTER TYPE "JobStatus" ADD VALUE 'ARCHIVED'""")

    mend()

    kept = definition(source)
    translated = "TIMED_OUT'::text THEN 'FAILED'", "it''s'::text THEN 'COMPLETED'"
    for part in (*translated, "'ARCHIVED'", '"triggeredBy"'):
        assert part in kept
    assert doctor("--json").document["findings"] == []
    # Another choice takes the place of the one before, and all of them go when that is said.
    mend("--status", "TIMED_OUT=CANCELLED")
    assert "WHEN 'TIMED_OUT'::text THEN 'CANCELLED'::text" in definition(source)
    source.execute("""ALTER TYPE "JobStatus" ADD VALUE 'PAUSED'""")
    mend("--forget")
    assert '"triggeredBy"' not in definition(source)


def test_any_name_can_be_said_and_is_quoted(doctor: Doctor, mend: Mend, source: Connection) -> None:
    """Quotes, spaces, percent signs and semicolons in names are names, nothing else."""
    table, column = """Exec"ution; DROP 100%s {}""", """wer's "Typ" -- %(x)s"""
    source.execute(SQL('ALTER TABLE "Job" RENAME TO {}').format(Identifier(table)))
    renamed = SQL('ALTER TABLE {} RENAME "initiatorType" TO {}')
    source.execute(renamed.format(Identifier(table), Identifier(column)))
    source.execute(SQL('ALTER TABLE {} ADD "initiatorType" text').format(Identifier(table)))
    said = ("--table", f"jobs={table}", "--column", f"jobs.initiator_type={column}")

    mend(*said)

    assert doctor(*said, "--json").document["findings"] == []
    # Nor is another column put in its place by whoever does not say it again.
    assert doctor("--json").document["findings"] == []


def test_a_table_that_bears_our_name_by_chance_makes_room_for_a_view(
    doctor: Doctor, mend: Mend, source: Connection
) -> None:
    """The application's own orchestration.jobs cannot be read as it is, so it goes where the others are."""
    source.execute("""
        CREATE SCHEMA orchestration;
        ALTER TABLE "Job" RENAME TO jobs;
        ALTER TABLE jobs SET SCHEMA orchestration
    """)

    told = doctor("--json").document
    mend()
    mend()

    assert 'ALTER TABLE "orchestration"."jobs" SET SCHEMA "public";' in told["sql"]
    assert doctor("--json").document["findings"] == []


def test_a_partitioned_table_is_a_source(doctor: Doctor, mend: Mend, source: Connection) -> None:
    """Its indexes are built with its partitions, since they cannot be built beside writers."""
    source.execute("""
        ALTER TABLE "Job" RENAME TO "Old";
        CREATE TABLE "Job" (LIKE "Old" INCLUDING DEFAULTS) PARTITION BY RANGE ("createdAt");
        CREATE TABLE "Job_2024" PARTITION OF "Job" FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
    """)
    plant_job(source, plant_tenant(source))

    mend()

    assert doctor("--json").document["findings"] == []


def test_words_of_rows_are_counted_and_never_printed(doctor: Doctor, mend: Mend, source: Connection) -> None:
    """A status of text may hold anything; what it means is said by who knows it."""
    source.execute('ALTER TABLE "Job" ALTER "status" DROP DEFAULT, ALTER "status" TYPE text')
    tenant = plant_tenant(source)
    for status in ("COMPLETED", "Jane Doe", "Jane Doe", "geht"):
        plant_job(source, tenant, status=status)
    mend()

    ended, document = doctor(), doctor("--json")
    mend("--status", "Jane Doe=FAILED", "--status", "geht=RUNNING")

    assert ended.exit_code == document.exit_code == 0
    assert [finding["what"] for finding in document.document["findings"]] == ["unknown_status"]
    assert "2 such words are in 3 jobs" in document.document["findings"][0]["why"]
    assert "Jane" not in ended.stdout + ended.stderr + document.stdout
    assert doctor("--json").document["findings"] == []
    translated = source.execute("SELECT status FROM orchestration.jobs ORDER BY 1").fetchall()
    assert [status for (status,) in translated] == ["COMPLETED", "FAILED", "FAILED", "RUNNING"]


def test_rows_that_a_restrictive_policy_hides_are_not_shown_by_another_policy(
    doctor: Doctor, mend: Mend, source: Connection
) -> None:
    """Then the owner has to pass by all policies, and that is what is printed."""
    mend()
    source.execute("""
        ALTER TABLE "Job" ENABLE ROW LEVEL SECURITY;
        ALTER TABLE "Job" FORCE ROW LEVEL SECURITY;
        CREATE POLICY "open" ON "Job" USING (true);
        CREATE POLICY "own" ON "Job" AS RESTRICTIVE USING ("organizationId" = current_setting('app.tenant'))
    """)

    ended = doctor("--json")

    (finding,) = ended.document["findings"]
    assert (ended.exit_code, finding["what"]) == (1, "hidden_rows")
    assert finding["sql"] == ['ALTER ROLE "owner_of_tests" BYPASSRLS;']


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--table jobs", "--table jobs=Execution"),
        ("--table steps=Step", "The contract has no table 'steps'"),
        ("--table jobs=Execution", "The schema 'public' has no table 'Execution'"),
        ("--column jobs.state=status", "The contract has no column jobs.state"),
        ("--column jobs=status", "The contract has no column jobs."),
        ("--column jobs.status=state", "The table 'Job' has no column 'state'"),
        ("--status DONE=GOOD", "'GOOD' is none of PENDING, RUNNING, COMPLETED, FAILED, CANCELLED"),
        ("--status DONE=COMPLETED", "The column 'status' has no label 'DONE'"),
        ("--schema nowhere", "The source has no table in a schema 'nowhere'"),
        ("--role nobody", "The source has no such role"),
    ],
)
def test_what_is_said_wrongly_is_told_in_a_sentence(doctor: Doctor, arguments: str, sentence: str) -> None:
    """Exit code 2, one line, nothing on stdout."""
    ended = doctor(*arguments.split())

    assert (ended.exit_code, ended.stderr.count("\n"), ended.stdout) == (2, 1, "")
    assert sentence in ended.stderr


def definition(source: Connection) -> str:
    """What the view of jobs says."""
    ((text,),) = source.execute("SELECT pg_get_viewdef('orchestration.jobs'::regclass)").fetchall()
    return str(text)

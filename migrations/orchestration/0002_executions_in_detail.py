"""Executions are logged, pictured and described; what they return and do is stored within limits."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from pipelines.subjects.dimensions import RESERVED_IDS

revision = "orchestration_0002"
down_revision = "orchestration_0001"
branch_labels = None
depends_on = None

SCHEMA = "orchestration"
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
MEBIBYTE = 1_048_576

# Values that may be large: worth a faster compression, where the server was built with it.
LARGE = {
    "jobs": ("result",),
    "workflows": ("definition",),
    "execution_logs": ("metadata",),
    # Those that are made later have it from their table; this one is there already.
    "execution_logs_default": ("metadata",),
    "execution_rag_rules": ("payers", "rules"),
}

RESULT = "What the execution returned. May hold personal health data: the metrics never read it."
LIMITED_RESULT = (
    "What the execution returned, up to 1 MiB. May hold personal health data: the metrics never read it."
)

APPEND_ONLY = f"""
CREATE FUNCTION {SCHEMA}.refuse_to_change_an_access() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'phi_access_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$
"""

CREATED = (
    "execution_logs",
    "execution_log_months",
    "execution_screenshots",
    "execution_rag_rules",
    "execution_metadata",
    "execution_metadata_syncs",
    "phi_access_log",
)


def upgrade() -> None:
    """Create the tables beside jobs, and limit what jobs and workflows hold; too large a row refuses it."""
    op.alter_column(
        "jobs",
        "result",
        comment=LIMITED_RESULT,
        existing_comment=RESULT,
        existing_type=postgresql.JSONB,
        schema=SCHEMA,
    )
    op.create_unique_constraint(
        op.f("jobs_unique_by_organization_id_id"), "jobs", ["organization_id", "id"], schema=SCHEMA
    )
    _limit_definitions()
    _create_logs()
    _create_log_months()
    _create_screenshots()
    _create_rag_rules()
    _create_metadata()
    _create_metadata_syncs()
    _create_access_log()
    for table, constraint in _new_constraints():
        op.create_check_constraint(constraint.name, table, constraint.sqltext, schema=SCHEMA)
    _compress()


def downgrade() -> None:
    """Drop what executions said and showed, which nothing can bring back; definitions in blobs stay there."""
    for table in reversed(CREATED):
        op.drop_table(table, schema=SCHEMA)
    op.execute(f"DROP FUNCTION {SCHEMA}.refuse_to_change_an_access()")
    postgresql.ENUM(name="log_level", schema=SCHEMA).drop(op.get_bind())
    for table, constraint in _new_constraints():
        op.drop_constraint(constraint.name, table, schema=SCHEMA)
    for column in ("definition_sha256", "definition_size_bytes", "definition_reference", "definition"):
        op.drop_column("workflows", column, schema=SCHEMA)
    op.drop_constraint(op.f("jobs_unique_by_organization_id_id"), "jobs", schema=SCHEMA)
    op.alter_column(
        "jobs",
        "result",
        comment=RESULT,
        existing_comment=LIMITED_RESULT,
        existing_type=postgresql.JSONB,
        schema=SCHEMA,
    )
    if _has_lz4():
        op.execute(f"ALTER TABLE {SCHEMA}.jobs ALTER COLUMN result SET COMPRESSION default")


def _new_constraints() -> tuple[tuple[str, sa.CheckConstraint], ...]:
    """Those of tables that were there."""
    return (
        ("organizations", _not_reserved("organizations")),
        ("jobs", _not_reserved("jobs")),
        ("jobs", _at_most_a_mebibyte("jobs", "result")),
        ("workflows", _at_most_a_mebibyte("workflows", "definition")),
        (
            "workflows",
            sa.CheckConstraint(
                "num_nonnulls(definition, definition_reference) <= 1",
                name=op.f("workflows_definition_is_in_one_place"),
            ),
        ),
        (
            "workflows",
            sa.CheckConstraint(
                "num_nulls(definition_reference, definition_size_bytes, definition_sha256) IN (0, 3)"
                " AND definition_size_bytes > 0 AND definition_sha256 ~ '^[0-9a-f]{64}$'",
                name=op.f("workflows_definition_reference_is_whole"),
            ),
        ),
    )


def _compress() -> None:
    if _has_lz4():
        for table, columns in LARGE.items():
            for column in columns:
                op.execute(f"ALTER TABLE {SCHEMA}.{table} ALTER COLUMN {column} SET COMPRESSION lz4")


def _has_lz4() -> bool:
    known = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    return bool(op.get_bind().scalar(sa.text(known)))


def _limit_definitions() -> None:
    op.add_column(
        "workflows",
        sa.Column(
            "definition",
            postgresql.JSONB,
            comment="What it does, as recorded, up to 1 MiB; NULL when it is not known, or larger and in"
            " blob storage.",
        ),
        schema=SCHEMA,
    )
    op.add_column(
        "workflows",
        sa.Column(
            "definition_reference",
            sa.Text,
            comment="Where in blob storage a larger definition is; NULL when it is here, or not known.",
        ),
        schema=SCHEMA,
    )
    op.add_column(
        "workflows",
        sa.Column("definition_size_bytes", sa.BigInteger, comment="How large the blob is; NULL without one."),
        schema=SCHEMA,
    )
    op.add_column(
        "workflows",
        sa.Column(
            "definition_sha256",
            sa.Text,
            comment="The SHA-256 of the blob in hexadecimal digits, which reading it checks; NULL without"
            " one.",
        ),
        schema=SCHEMA,
    )


def _create_logs() -> None:
    level = postgresql.ENUM(*LEVELS, name="log_level", schema=SCHEMA, create_type=False)
    level.create(op.get_bind())
    op.execute(
        f"COMMENT ON TYPE {SCHEMA}.log_level IS 'How grave a line of a log is, the least grave first.'"
    )
    op.create_table(
        "execution_logs",
        sa.Column(
            "id",
            sa.Uuid,
            server_default=sa.func.gen_random_uuid(),
            nullable=False,
            comment="The line; unique together with its timestamp, as partitions have it.",
        ),
        *_of_a_job(),
        sa.Column(
            "sequence",
            sa.Integer,
            nullable=False,
            comment="The place of the line among those of its job, from 0.",
        ),
        sa.Column(
            "level",
            level,
            nullable=False,
            comment="How grave it is. A step that ends in ERROR or FATAL has failed.",
        ),
        _time(
            "timestamp",
            "When it was written; for a step, when the step ended. Decides the partition.",
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.Column(
            "step_name",
            sa.Text,
            comment="The step that ended, by its name in the workflow; NULL for a line that is no step.",
        ),
        sa.Column(
            "message",
            sa.Text,
            comment="What was said. May hold personal health data: the metrics never read it.",
        ),
        sa.Column(
            "duration_ms",
            sa.Double,
            comment="How long the step took, in milliseconds; NULL when it was not timed. May be negative,"
            " because clocks disagree: such a step is counted, and not timed.",
        ),
        sa.Column(
            "metadata",
            postgresql.JSONB,
            comment="Whatever else was known, up to 1 MiB. May hold personal health data: the metrics"
            " never read it.",
        ),
        sa.CheckConstraint(
            "duration_ms > '-Infinity' AND duration_ms < 'Infinity'",
            name=op.f("execution_logs_duration_is_a_number"),
        ),
        _at_most_a_mebibyte("execution_logs", "metadata"),
        sa.CheckConstraint("sequence >= 0", name=op.f("execution_logs_sequence_is_not_negative")),
        sa.CheckConstraint(
            "timestamp >= '0001-01-01 00:00:00+00' AND timestamp < '9999-01-01 00:00:00+00'",
            name=op.f("execution_logs_timestamp_is_a_moment"),
        ),
        _job_of_the_same_organization("execution_logs"),
        sa.PrimaryKeyConstraint("id", "timestamp", name=op.f("execution_logs_primary_key")),
        schema=SCHEMA,
        comment="What executions said, a line each; one that names a step says how the step ended."
        " Partitioned by month: a maintenance job makes partitions ahead, and archives and drops those"
        " that are older than EXECMETRICS_KEEP_LOGS; whatever belongs to no month that has one is in"
        " execution_logs_default.",
        postgresql_partition_by="RANGE (timestamp)",
    )
    op.create_index(
        "execution_logs_by_job_id_level_timestamp",
        "execution_logs",
        ["job_id", "level", sa.literal_column("timestamp DESC")],
        schema=SCHEMA,
    )
    op.create_index(
        "execution_logs_by_job_id_timestamp",
        "execution_logs",
        ["job_id", sa.literal_column("timestamp DESC")],
        schema=SCHEMA,
    )
    op.create_index(
        "execution_logs_by_job_id_timestamp_of_problems",
        "execution_logs",
        ["job_id", sa.literal_column("timestamp DESC")],
        schema=SCHEMA,
        postgresql_where=sa.text("level >= 'WARN'::orchestration.log_level"),
    )
    op.execute(f"CREATE TABLE {SCHEMA}.execution_logs_default PARTITION OF {SCHEMA}.execution_logs DEFAULT")


def _create_log_months() -> None:
    op.create_table(
        "execution_log_months",
        _time("month_start", "Inclusive start of the month, in UTC.", nullable=False),
        _time("month_end", "Exclusive end of the month, in UTC.", nullable=False),
        sa.Column(
            "archive_reference",
            sa.Text,
            comment="Where in blob storage the lines are, as Parquet; NULL when they were not archived.",
        ),
        sa.Column("archive_sha256", sa.Text, comment="The SHA-256 of the archive in hexadecimal digits."),
        sa.Column("archived_rows", sa.BigInteger, comment="How many lines the archive holds."),
        _time("archived_at", "When it was written; NULL when it was not."),
        _time("dropped_at", "When the lines left the database; NULL while they are still there."),
        sa.CheckConstraint("month_start < month_end", name=op.f("execution_log_months_month_is_a_range")),
        sa.CheckConstraint(
            "num_nonnulls(archived_at, dropped_at) > 0",
            name=op.f("execution_log_months_month_was_archived_or_dropped"),
        ),
        sa.CheckConstraint(
            "num_nulls(archive_reference, archive_sha256, archived_rows, archived_at) IN (0, 4)",
            name=op.f("execution_log_months_archive_is_whole"),
        ),
        sa.PrimaryKeyConstraint("month_start", name=op.f("execution_log_months_primary_key")),
        schema=SCHEMA,
        comment="What became of old months of execution_logs. The step metrics of a month that was dropped"
        " are sealed: they stay, although nothing is left to compute them from.",
    )


def _create_screenshots() -> None:
    op.create_table(
        "execution_screenshots",
        sa.Column(
            "id", sa.Uuid, server_default=sa.func.gen_random_uuid(), nullable=False, comment="The screenshot."
        ),
        *_of_a_job(),
        sa.Column("step_name", sa.Text, comment="The step it was taken in; NULL outside of one."),
        sa.Column(
            "screenshot_type", sa.Text, nullable=False, comment="Why it was taken: STEP, ERROR or FINAL."
        ),
        sa.Column(
            "image_reference",
            sa.Text,
            nullable=False,
            comment="Where in blob storage the image is. It may show personal health data.",
        ),
        sa.Column("image_size_bytes", sa.BigInteger, nullable=False, comment="How large the image is."),
        sa.Column(
            "image_sha256", sa.Text, nullable=False, comment="The SHA-256 of the image in hexadecimal digits."
        ),
        _time("captured_at", "When it was taken.", nullable=False),
        *_lifecycle(),
        _not_reserved("execution_screenshots"),
        sa.CheckConstraint(
            "image_size_bytes > 0 AND image_sha256 ~ '^[0-9a-f]{64}$'",
            name=op.f("execution_screenshots_image_reference_is_whole"),
        ),
        sa.CheckConstraint(
            "screenshot_type IN ('ERROR', 'FINAL', 'STEP')", name=op.f("execution_screenshots_type_is_known")
        ),
        _job_of_the_same_organization("execution_screenshots"),
        sa.PrimaryKeyConstraint("id", name=op.f("execution_screenshots_primary_key")),
        schema=SCHEMA,
        comment="Pictures of executions. The organization is that of the job, by a key of both: so all"
        " pictures of an organization are found without a join.",
    )
    op.create_index("execution_screenshots_by_job_id", "execution_screenshots", ["job_id"], schema=SCHEMA)
    op.create_index(
        "execution_screenshots_by_organization_id_captured_at",
        "execution_screenshots",
        ["organization_id", sa.literal_column("captured_at DESC")],
        schema=SCHEMA,
    )


def _create_rag_rules() -> None:
    op.create_table(
        "execution_rag_rules",
        *_of_a_job(),
        sa.Column(
            "payers",
            postgresql.JSONB,
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="The payers that were matched: an array of objects, each with name, id and scenario,"
            " which are texts. Up to 1 MiB.",
        ),
        sa.Column(
            "rules",
            postgresql.JSONB,
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="The rules that were considered: an array of objects, each with ruleId, ruleType,"
            " condition and action, which are texts, and wasUsed, which is true or false; others may be"
            " there. Up to 1 MiB.",
        ),
        *_lifecycle(),
        sa.CheckConstraint(
            'jsonb_path_query_array(payers, \'strict $[*] ? (@.type() == "object"'
            ' && @.name.type() == "string" && @.id.type() == "string" && @.scenario.type() == "string")\','
            " '{}', true) = payers",
            name=op.f("execution_rag_rules_payers_have_their_shape"),
        ),
        sa.CheckConstraint(
            'jsonb_path_query_array(rules, \'strict $[*] ? (@.type() == "object"'
            ' && @.ruleId.type() == "string" && @.ruleType.type() == "string"'
            ' && @.condition.type() == "string" && @.action.type() == "string"'
            ' && @.wasUsed.type() == "boolean")\','
            " '{}', true) = rules",
            name=op.f("execution_rag_rules_rules_have_their_shape"),
        ),
        _at_most_a_mebibyte("execution_rag_rules", "payers"),
        _at_most_a_mebibyte("execution_rag_rules", "rules"),
        _job_of_the_same_organization("execution_rag_rules"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("execution_rag_rules_primary_key")),
        schema=SCHEMA,
        comment="Which payers and rules retrieval found for a job, one row a job.",
    )


def _create_metadata() -> None:
    status = postgresql.ENUM(name="job_status", schema=SCHEMA, create_type=False)
    op.create_table(
        "execution_metadata",
        *_of_a_job(),
        sa.Column("workflow_id", sa.Uuid, nullable=False, comment="The workflow that was executed."),
        sa.Column("workflow_name", sa.Text, nullable=False, comment="Its name when it was last synced."),
        sa.Column("client_id", sa.Uuid, comment="The client it was executed for; NULL when for none."),
        sa.Column("client_name", sa.Text, comment="Its name when it was last synced; NULL without a client."),
        sa.Column("initiator_type", sa.Text, comment="What started the job; NULL when that is not known."),
        sa.Column("status", status, nullable=False, comment="Where the job stood."),
        _time("created_at", "When the job was asked for.", nullable=False),
        _time("started_at", "When it began to run; NULL before that."),
        _time("completed_at", "When it finished; NULL before that."),
        _time("deleted_at", "When it was soft-deleted; NULL while it counts."),
        _time(
            "last_synced_at",
            "When a sync last wrote this row, because it differed from its sources. A sync that finds it"
            " equal leaves it: execution_metadata_syncs.synced_at says through when the organization is"
            " copied.",
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], [f"{SCHEMA}.jobs.id"], name="execution_metadata_job_exists", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("execution_metadata_primary_key")),
        schema=SCHEMA,
        comment="Jobs with the names of their workflows and clients, for dashboards that list them without"
        " a join. Copied by sync_metadata (execmetrics metadata sync, every hour by Dagster) from jobs,"
        " workflows and clients, and by nothing else: no trigger, no application code. A sync takes jobs"
        " that were written at or after the horizon in execution_metadata_syncs, and those whose workflow"
        " or client was, so that a new name reaches every row; jobs deleted for good leave by cascade. What"
        " somebody writes here by hand no such sync sees: a check compares with the sources and counts it"
        " as drift, and reconciling, which is a sync of everything, repairs it. The job is the only foreign"
        " key, so that no change of a job, workflow or client is refused for the sake of its copy.",
    )
    for name, columns in (
        ("created_at", ()),
        ("workflow_id_created_at", ("workflow_id",)),
        ("client_id_created_at", ("client_id",)),
    ):
        op.create_index(
            f"execution_metadata_by_organization_id_{name}",
            "execution_metadata",
            [
                "organization_id",
                *columns,
                sa.literal_column("created_at DESC"),
                sa.literal_column("job_id DESC"),
            ],
            schema=SCHEMA,
        )


def _create_metadata_syncs() -> None:
    op.create_table(
        "execution_metadata_syncs",
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant."),
        sa.Column(
            "horizon",
            sa.BigInteger,
            nullable=False,
            comment="64-bit transaction id below which every transaction had ended when it was last"
            " synced: the next sync takes rows written at or after it.",
        ),
        sa.Column(
            "server",
            sa.BigInteger,
            nullable=False,
            comment="Whose transaction ids these are, by its system identifier: restored into another server,"
            " a horizon tells nothing, and the next sync takes everything.",
        ),
        _time(
            "synced_at",
            "Whatever was committed by then has been copied.",
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["orchestration.organizations.id"],
            name="execution_metadata_syncs_organization_exists",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("execution_metadata_syncs_primary_key")),
        schema=SCHEMA,
        comment="How far each organization's execution_metadata has been synced. It stays where it was while"
        " an application holds a lock on what had to be copied: the next sync then takes the same again.",
    )


def _create_access_log() -> None:
    op.create_table(
        "phi_access_log",
        sa.Column(
            "id", sa.BigInteger, sa.Identity(always=True), nullable=False, comment="The access, in order."
        ),
        _time("accessed_at", "When.", nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("accessed_by", sa.Text, nullable=False, comment="Who, as the application knows them."),
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="Whose rows: the tenant."),
        sa.Column(
            "accessed", sa.Text, nullable=False, comment="What: the table, and the column if it is one."
        ),
        sa.Column("job_id", sa.Uuid, comment="Of which job; NULL when not of one job."),
        sa.Column("purpose", sa.Text, nullable=False, comment="Why, in the words of whoever asked."),
        sa.CheckConstraint(
            "accessed_by <> '' AND purpose <> ''", name=op.f("phi_access_log_access_is_explained")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("phi_access_log_primary_key")),
        schema=SCHEMA,
        comment="Who read rows that may hold personal health data. Written before the rows are given out,"
        " and append-only: nobody may change or delete a row, and a trigger refuses it to whoever may.",
    )
    op.create_index(
        "phi_access_log_by_organization_id_accessed_at",
        "phi_access_log",
        ["organization_id", "accessed_at"],
        schema=SCHEMA,
    )
    op.execute(f"COMMENT ON SEQUENCE {SCHEMA}.phi_access_log_id_seq IS 'Numbers the accesses.'")
    op.execute(APPEND_ONLY)
    op.execute(
        f"CREATE TRIGGER phi_access_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE"
        f" ON {SCHEMA}.phi_access_log EXECUTE FUNCTION {SCHEMA}.refuse_to_change_an_access()"
    )
    # Also for a superuser who has switched triggers off for a session.
    op.execute(f"ALTER TABLE {SCHEMA}.phi_access_log ENABLE ALWAYS TRIGGER phi_access_log_is_append_only")
    op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {SCHEMA}.phi_access_log FROM PUBLIC, CURRENT_USER")


def _of_a_job() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant that owns the job."),
        sa.Column("job_id", sa.Uuid, nullable=False, comment="The job."),
    )


def _job_of_the_same_organization(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organization_id", "job_id"],
        [f"{SCHEMA}.jobs.organization_id", f"{SCHEMA}.jobs.id"],
        name=f"{table}_job_is_of_the_same_organization",
        ondelete="CASCADE",
    )


def _not_reserved(table: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in sorted(map(str, RESERVED_IDS)))
    return sa.CheckConstraint(f"id NOT IN ({listed})", name=op.f(f"{table}_id_is_not_reserved"))


def _at_most_a_mebibyte(table: str, column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(
        f"octet_length({column}::text) <= {MEBIBYTE}", name=op.f(f"{table}_{column}_is_at_most_a_mebibyte")
    )


def _lifecycle() -> tuple[sa.Column[Any], ...]:
    return (
        _time("created_at", "When it was created.", nullable=False, server_default=sa.func.now()),
        _time(
            "updated_at",
            "When it last changed, by the clock of the server that changed it.",
            nullable=False,
            server_default=sa.func.now(),
        ),
        _time("deleted_at", "When it was soft-deleted; NULL while it is in use."),
    )


def _time(name: str, comment: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **options)

"""The tables of the orchestration schema as the migrations leave them."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.schema import SchemaItem

from pipelines.postgres.schemas import ORCHESTRATION
from pipelines.postgres.tables.columns import listed, orchestration_metadata, time
from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS
from pipelines.subjects.steps import Level

# A JSON value takes no more: the application may set a lower limit, and reading one is bounded.
_MEBIBYTE: Final = 1_048_576

# What an element of an array is, in the language of jsonpath; a constraint may not ask a subquery.
PAYER_SHAPE: Final = {"name": "string", "id": "string", "scenario": "string"}
RULE_SHAPE: Final = {
    "ruleId": "string",
    "ruleType": "string",
    "condition": "string",
    "action": "string",
    "wasUsed": "boolean",
}


def _not_reserved() -> CheckConstraint:
    return CheckConstraint(f"id NOT IN ({listed(RESERVED_IDS)})", name="id_is_not_reserved")


def _at_most_a_mebibyte(column: str) -> CheckConstraint:
    return CheckConstraint(
        f"octet_length({column}::text) <= {_MEBIBYTE}", name=f"{column}_is_at_most_a_mebibyte"
    )


def _array_of(shape: Mapping[str, str], column: str) -> str:
    """That a value is an array of objects with these keys and types: what is right of it is all of it.

    Strictly, because a lax path looks into arrays of arrays by itself; silently, because it may be no array.
    """
    right = " && ".join(f'@.{key}.type() == "{kind}"' for key, kind in shape.items())
    path = f"""strict $[*] ? (@.type() == "object" && {right})"""
    return f"jsonb_path_query_array({column}, '{path}', '{{}}', true) = {column}"


def _lifecycle() -> tuple[Column[Any], ...]:
    return (
        time("created_at", "When it was created.", nullable=False, server_default=func.now()),
        time(
            "updated_at",
            "When it last changed, by the clock of the server that changed it.",
            nullable=False,
            server_default=func.now(),
        ),
        time("deleted_at", "When it was soft-deleted; NULL while it is in use."),
    )


def _named_things(table: str, what: str, *more: SchemaItem) -> Table:
    return Table(
        table,
        orchestration_metadata,
        Column("id", Uuid, nullable=False, comment=f"The {what}."),
        Column("organization_id", Uuid, nullable=False, comment=f"The tenant that owns the {what}."),
        Column("name", Text, nullable=False, comment="Its name as people know it."),
        *_lifecycle(),
        PrimaryKeyConstraint("id"),
        UniqueConstraint("organization_id", "id"),
        ForeignKeyConstraint(
            ["organization_id"],
            [f"{ORCHESTRATION}.organizations.id"],
            name=f"{table}_organization_exists",
            ondelete="CASCADE",
        ),
        _not_reserved(),
        *more,
        comment=f"The {what}s of every organization.",
    )


source_organizations: Final = Table(
    "organizations",
    orchestration_metadata,
    Column("id", Uuid, nullable=False, comment="The organization."),
    Column("name", Text, nullable=False, comment="Its name as people know it."),
    Column(
        "time_zone",
        Text,
        nullable=False,
        server_default=text("'UTC'"),
        comment="IANA name of the zone the organization lives in, such as Europe/Amsterdam.",
    ),
    *_lifecycle(),
    PrimaryKeyConstraint("id"),
    _not_reserved(),
    comment="The tenants; every other row belongs to exactly one.",
)

source_workflows: Final = _named_things(
    "workflows",
    "workflow",
    Column(
        "definition",
        JSONB,
        comment="What it does, as recorded, up to 1 MiB; NULL when it is not known, or larger and in blob"
        " storage.",
    ),
    Column(
        "definition_reference",
        Text,
        comment="Where in blob storage a larger definition is; NULL when it is here, or not known.",
    ),
    Column("definition_size_bytes", BigInteger, comment="How large the blob is; NULL without one."),
    Column(
        "definition_sha256",
        Text,
        comment="The SHA-256 of the blob in hexadecimal digits, which reading it checks; NULL without one.",
    ),
    _at_most_a_mebibyte("definition"),
    CheckConstraint("num_nonnulls(definition, definition_reference) <= 1", name="definition_is_in_one_place"),
    CheckConstraint(
        "num_nulls(definition_reference, definition_size_bytes, definition_sha256) IN (0, 3)"
        " AND definition_size_bytes > 0 AND definition_sha256 ~ '^[0-9a-f]{64}$'",
        name="definition_reference_is_whole",
    ),
)
source_clients: Final = _named_things("clients", "client")

job_status: Final = ENUM(
    "PENDING",
    "RUNNING",
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    name="job_status",
    metadata=orchestration_metadata,
)

source_jobs: Final = Table(
    "jobs",
    orchestration_metadata,
    Column("id", Uuid, nullable=False, comment="The job."),
    Column("organization_id", Uuid, nullable=False, comment="The tenant that owns the job."),
    Column("workflow_id", Uuid, nullable=False, comment="The workflow that was executed."),
    Column("client_id", Uuid, comment="The client it was executed for; NULL when for none."),
    Column(
        "initiator_type",
        Text,
        comment="What started it, such as USER or SCHEDULE; NULL when that is not known.",
    ),
    Column(
        "status",
        job_status,
        nullable=False,
        comment="COMPLETED and FAILED are counted; a finished job may be retried in place and run again.",
    ),
    Column(
        "result",
        JSONB,
        comment="What the execution returned, up to 1 MiB. May hold personal health data: the metrics never"
        " read it.",
    ),
    time("created_at", "When it was asked for.", nullable=False, server_default=func.now()),
    time("started_at", "When it began to run; NULL before that. May precede created_at."),
    time(
        "completed_at",
        "When it finished; NULL before that. The bucket it is counted in. May precede started_at.",
    ),
    time(
        "updated_at",
        "When the row last changed, by the clock of the server that changed it: not in commit order.",
        nullable=False,
        server_default=func.now(),
    ),
    time("deleted_at", "When it was soft-deleted; NULL while it counts."),
    PrimaryKeyConstraint("id"),
    # What lets a row of a job name the job and its organization in one foreign key.
    UniqueConstraint("organization_id", "id"),
    ForeignKeyConstraint(
        ["organization_id", "workflow_id"],
        [f"{ORCHESTRATION}.workflows.organization_id", f"{ORCHESTRATION}.workflows.id"],
        name="jobs_workflow_is_of_the_same_organization",
        ondelete="CASCADE",
    ),
    ForeignKeyConstraint(
        ["organization_id", "client_id"],
        [f"{ORCHESTRATION}.clients.organization_id", f"{ORCHESTRATION}.clients.id"],
        name="jobs_client_is_of_the_same_organization",
        ondelete="SET NULL (client_id)",
    ),
    CheckConstraint(
        "status NOT IN ('COMPLETED', 'FAILED') OR completed_at IS NOT NULL",
        name="finished_has_completed_at",
    ),
    CheckConstraint(
        f"initiator_type NOT IN ({listed(RESERVED_INITIATORS)})",
        name="initiator_type_is_not_reserved",
    ),
    _not_reserved(),
    _at_most_a_mebibyte("result"),
    Index(None, "updated_at"),
    Index(None, "completed_at"),
    Index(None, "organization_id", "completed_at"),
    Index(None, "organization_id", "workflow_id"),
    Index(None, "organization_id", "client_id"),
    comment="One row per execution of a workflow. completed_at < started_at can happen, because clocks of"
    " different servers disagree: it is an anomaly that the metrics list, not a constraint here.",
)


log_level: Final = ENUM(*map(str, Level), name="log_level", metadata=orchestration_metadata)


def _of_a_job(*columns: Column[Any]) -> tuple[Column[Any], ...]:
    return (
        Column("organization_id", Uuid, nullable=False, comment="The tenant that owns the job."),
        Column("job_id", Uuid, nullable=False, comment="The job."),
        *columns,
    )


def _job_of_the_same_organization(table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["organization_id", "job_id"],
        [f"{ORCHESTRATION}.jobs.organization_id", f"{ORCHESTRATION}.jobs.id"],
        name=f"{table}_job_is_of_the_same_organization",
        ondelete="CASCADE",
    )


execution_logs: Final = Table(
    "execution_logs",
    orchestration_metadata,
    Column(
        "id",
        Uuid,
        nullable=False,
        server_default=func.gen_random_uuid(),
        comment="The line; unique together with its timestamp, as partitions have it.",
    ),
    *_of_a_job(),
    Column(
        "sequence", Integer, nullable=False, comment="The place of the line among those of its job, from 0."
    ),
    Column(
        "level",
        log_level,
        nullable=False,
        comment="How grave it is. A step that ends in ERROR or FATAL has failed.",
    ),
    time(
        "timestamp",
        "When it was written; for a step, when the step ended. Decides the partition.",
        nullable=False,
        server_default=func.now(),
    ),
    Column(
        "step_name",
        Text,
        comment="The step that ended, by its name in the workflow; NULL for a line that is no step.",
    ),
    Column(
        "message",
        Text,
        comment="What was said. May hold personal health data: the metrics never read it.",
    ),
    Column(
        "duration_ms",
        Double,
        comment="How long the step took, in milliseconds; NULL when it was not timed. May be negative,"
        " because clocks disagree: such a step is counted, and not timed.",
    ),
    Column(
        "metadata",
        JSONB,
        comment="Whatever else was known, up to 1 MiB. May hold personal health data: the metrics never read"
        " it.",
    ),
    PrimaryKeyConstraint("id", "timestamp"),
    _job_of_the_same_organization("execution_logs"),
    CheckConstraint("duration_ms > '-Infinity' AND duration_ms < 'Infinity'", name="duration_is_a_number"),
    CheckConstraint("sequence >= 0", name="sequence_is_not_negative"),
    # Infinity, and years that Python does not know, would make whoever reads the line fail.
    CheckConstraint(
        "timestamp >= '0001-01-01 00:00:00+00' AND timestamp < '9999-01-01 00:00:00+00'",
        name="timestamp_is_a_moment",
    ),
    _at_most_a_mebibyte("metadata"),
    Index("execution_logs_by_job_id_level_timestamp", "job_id", "level", text("timestamp DESC")),
    Index("execution_logs_by_job_id_timestamp", "job_id", text("timestamp DESC")),
    # From WARN on are WARN, ERROR and FATAL.
    Index(
        "execution_logs_by_job_id_timestamp_of_problems",
        "job_id",
        text("timestamp DESC"),
        postgresql_where=text(f"level >= 'WARN'::{ORCHESTRATION}.log_level"),
    ),
    comment="What executions said, a line each; one that names a step says how the step ended. Partitioned by"
    " month: a maintenance job makes partitions ahead, and archives and drops those that are older than"
    " EXECMETRICS_KEEP_LOGS; whatever belongs to no month that has one is in execution_logs_default.",
    postgresql_partition_by="RANGE (timestamp)",
)

execution_log_months: Final = Table(
    "execution_log_months",
    orchestration_metadata,
    time("month_start", "Inclusive start of the month, in UTC.", nullable=False),
    time("month_end", "Exclusive end of the month, in UTC.", nullable=False),
    Column(
        "archive_reference",
        Text,
        comment="Where in blob storage the lines are, as Parquet; NULL when they were not archived.",
    ),
    Column("archive_sha256", Text, comment="The SHA-256 of the archive in hexadecimal digits."),
    Column("archived_rows", BigInteger, comment="How many lines the archive holds."),
    time("archived_at", "When it was written; NULL when it was not."),
    time("dropped_at", "When the lines left the database; NULL while they are still there."),
    PrimaryKeyConstraint("month_start"),
    CheckConstraint("month_start < month_end", name="month_is_a_range"),
    CheckConstraint(
        "num_nulls(archive_reference, archive_sha256, archived_rows, archived_at) IN (0, 4)",
        name="archive_is_whole",
    ),
    CheckConstraint("num_nonnulls(archived_at, dropped_at) > 0", name="month_was_archived_or_dropped"),
    comment="What became of old months of execution_logs. The step metrics of a month that was dropped are"
    " sealed: they stay, although nothing is left to compute them from.",
)

execution_screenshots: Final = Table(
    "execution_screenshots",
    orchestration_metadata,
    Column("id", Uuid, nullable=False, server_default=func.gen_random_uuid(), comment="The screenshot."),
    *_of_a_job(),
    Column("step_name", Text, comment="The step it was taken in; NULL outside of one."),
    Column("screenshot_type", Text, nullable=False, comment="Why it was taken: STEP, ERROR or FINAL."),
    Column(
        "image_reference",
        Text,
        nullable=False,
        comment="Where in blob storage the image is. It may show personal health data.",
    ),
    Column("image_size_bytes", BigInteger, nullable=False, comment="How large the image is."),
    Column("image_sha256", Text, nullable=False, comment="The SHA-256 of the image in hexadecimal digits."),
    time("captured_at", "When it was taken.", nullable=False),
    *_lifecycle(),
    PrimaryKeyConstraint("id"),
    _job_of_the_same_organization("execution_screenshots"),
    _not_reserved(),
    CheckConstraint("screenshot_type IN ('ERROR', 'FINAL', 'STEP')", name="type_is_known"),
    CheckConstraint(
        "image_size_bytes > 0 AND image_sha256 ~ '^[0-9a-f]{64}$'", name="image_reference_is_whole"
    ),
    Index(
        "execution_screenshots_by_organization_id_captured_at",
        "organization_id",
        text("captured_at DESC"),
    ),
    Index(None, "job_id"),
    comment="Pictures of executions. The organization is that of the job, by a key of both: so all pictures"
    " of an organization are found without a join.",
)

execution_rag_rules: Final = Table(
    "execution_rag_rules",
    orchestration_metadata,
    *_of_a_job(),
    Column(
        "payers",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="The payers that were matched: an array of objects, each with name, id and scenario, which"
        " are texts. Up to 1 MiB.",
    ),
    Column(
        "rules",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="The rules that were considered: an array of objects, each with ruleId, ruleType, condition"
        " and action, which are texts, and wasUsed, which is true or false; others may be there. Up to 1"
        " MiB.",
    ),
    *_lifecycle(),
    PrimaryKeyConstraint("job_id"),
    _job_of_the_same_organization("execution_rag_rules"),
    CheckConstraint(_array_of(PAYER_SHAPE, "payers"), name="payers_have_their_shape"),
    CheckConstraint(_array_of(RULE_SHAPE, "rules"), name="rules_have_their_shape"),
    _at_most_a_mebibyte("payers"),
    _at_most_a_mebibyte("rules"),
    comment="Which payers and rules retrieval found for a job, one row a job.",
)

execution_metadata: Final = Table(
    "execution_metadata",
    orchestration_metadata,
    *_of_a_job(
        Column("workflow_id", Uuid, nullable=False, comment="The workflow that was executed."),
        Column("workflow_name", Text, nullable=False, comment="Its name when it was last synced."),
        Column("client_id", Uuid, comment="The client it was executed for; NULL when for none."),
        Column("client_name", Text, comment="Its name when it was last synced; NULL without a client."),
        Column("initiator_type", Text, comment="What started the job; NULL when that is not known."),
        Column("status", job_status, nullable=False, comment="Where the job stood."),
    ),
    time("created_at", "When the job was asked for.", nullable=False),
    time("started_at", "When it began to run; NULL before that."),
    time("completed_at", "When it finished; NULL before that."),
    time("deleted_at", "When it was soft-deleted; NULL while it counts."),
    time(
        "last_synced_at",
        "When a sync last wrote this row, because it differed from its sources. A sync that finds it equal"
        " leaves it: execution_metadata_syncs.synced_at says through when the organization is copied.",
        nullable=False,
    ),
    PrimaryKeyConstraint("job_id"),
    # Not together with the organization: a job that moves to another one is copied, never held back.
    ForeignKeyConstraint(
        ["job_id"], [f"{ORCHESTRATION}.jobs.id"], name="execution_metadata_job_exists", ondelete="CASCADE"
    ),
    Index(
        "execution_metadata_by_organization_id_created_at",
        "organization_id",
        text("created_at DESC"),
        text("job_id DESC"),
    ),
    Index(
        "execution_metadata_by_organization_id_workflow_id_created_at",
        "organization_id",
        "workflow_id",
        text("created_at DESC"),
        text("job_id DESC"),
    ),
    Index(
        "execution_metadata_by_organization_id_client_id_created_at",
        "organization_id",
        "client_id",
        text("created_at DESC"),
        text("job_id DESC"),
    ),
    comment="Jobs with the names of their workflows and clients, for dashboards that list them without a"
    " join. Copied by sync_metadata (execmetrics metadata sync, every hour by Dagster) from jobs, workflows"
    " and clients, and by nothing else: no trigger, no application code. A sync takes jobs that were written"
    " at or after the horizon in execution_metadata_syncs, and those whose workflow or client was, so that a"
    " new name reaches every row; jobs deleted for good leave by cascade. What somebody writes here by hand"
    " no such sync sees: a check compares with the sources and counts it as drift, and reconciling, which is"
    " a sync of everything, repairs it. The job is the only foreign key, so that no change of a job, workflow"
    " or client is refused for the sake of its copy.",
)

execution_metadata_syncs: Final = Table(
    "execution_metadata_syncs",
    orchestration_metadata,
    Column("organization_id", Uuid, nullable=False, comment="The tenant."),
    Column(
        "horizon",
        BigInteger,
        nullable=False,
        comment="64-bit transaction id below which every transaction had ended when it was last synced: the"
        " next sync takes rows written at or after it.",
    ),
    Column(
        "server",
        BigInteger,
        nullable=False,
        comment="Whose transaction ids these are, by its system identifier: restored into another server, a"
        " horizon tells nothing, and the next sync takes everything.",
    ),
    time("synced_at", "Whatever was committed by then has been copied.", nullable=False),
    PrimaryKeyConstraint("organization_id"),
    ForeignKeyConstraint(
        ["organization_id"],
        [f"{ORCHESTRATION}.organizations.id"],
        name="execution_metadata_syncs_organization_exists",
        ondelete="CASCADE",
    ),
    comment="How far each organization's execution_metadata has been synced. It stays where it was while an"
    " application holds a lock on what had to be copied: the next sync then takes the same again.",
)

phi_access_log: Final = Table(
    "phi_access_log",
    orchestration_metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, comment="The access, in order."),
    time("accessed_at", "When.", nullable=False, server_default=func.clock_timestamp()),
    Column("accessed_by", Text, nullable=False, comment="Who, as the application knows them."),
    Column("organization_id", Uuid, nullable=False, comment="Whose rows: the tenant."),
    Column("accessed", Text, nullable=False, comment="What: the table, and the column if it is one."),
    Column("job_id", Uuid, comment="Of which job; NULL when not of one job."),
    Column("purpose", Text, nullable=False, comment="Why, in the words of whoever asked."),
    PrimaryKeyConstraint("id"),
    CheckConstraint("accessed_by <> '' AND purpose <> ''", name="access_is_explained"),
    Index(None, "organization_id", "accessed_at"),
    comment="Who read rows that may hold personal health data. Written before the rows are given out, and"
    " append-only: nobody may change or delete a row, and a trigger refuses it to whoever may.",
)

_DEFAULT_PARTITION: Final = (
    f"CREATE TABLE {ORCHESTRATION}.execution_logs_default PARTITION OF {ORCHESTRATION}.execution_logs DEFAULT"
)
event.listen(execution_logs, "after_create", DDL(_DEFAULT_PARTITION))  # type: ignore[no-untyped-call]

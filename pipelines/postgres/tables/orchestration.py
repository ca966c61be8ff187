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
from pipelines.postgres.tables.columns import (
    TIME,
    check,
    listed,
    optional,
    orchestration_metadata,
    references,
    required,
)
from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS
from pipelines.subjects.jobs import Status
from pipelines.subjects.steps import Level

# A JSON value takes no more: the application may set a lower limit, and reading one is bounded.
_MEBIBYTE: Final = 1_048_576

# What an element of an array is, in the language of jsonpath; a constraint may not ask a subquery.
_PAYER: Final = {"name": "string", "id": "string", "scenario": "string"}
_RULE: Final = dict.fromkeys(("ruleId", "ruleType", "condition", "action"), "string") | {"wasUsed": "boolean"}

_NO_OBJECTS: Final = text("'[]'::jsonb")

# A table that no other module asks for has no name here: its schema's metadata holds it.


def _not_reserved() -> CheckConstraint:
    return check("id_is_not_reserved", f"id NOT IN ({listed(RESERVED_IDS)})")


def _at_most_a_mebibyte(column: str) -> CheckConstraint:
    return check(f"{column}_is_at_most_a_mebibyte", f"octet_length({column}::text) <= {_MEBIBYTE}")


def _array_of(shape: Mapping[str, str], column: str) -> str:
    """That a value is an array of objects with these keys and types: what is right of it is all of it.

    Strictly, because a lax path looks into arrays of arrays by itself; silently, because it may be no array.
    """
    right = " && ".join(f'@.{key}.type() == "{kind}"' for key, kind in shape.items())
    path = f"""strict $[*] ? (@.type() == "object" && {right})"""
    return f"jsonb_path_query_array({column}, '{path}', '{{}}', true) = {column}"


def _lifecycle() -> tuple[Column[Any], ...]:
    updated = "When it last changed, by the clock of the server that changed it."
    return (
        required("created_at", TIME, "When it was created.", server_default=func.now()),
        required("updated_at", TIME, updated, server_default=func.now()),
        optional("deleted_at", TIME, "When it was soft-deleted; NULL while it is in use."),
    )


def _named_things(table: str, what: str, *more: SchemaItem) -> Table:
    return Table(
        table,
        orchestration_metadata,
        required("id", Uuid, f"The {what}."),
        required("organization_id", Uuid, f"The tenant that owns the {what}."),
        required("name", Text, "Its name as people know it."),
        *_lifecycle(),
        PrimaryKeyConstraint("id"),
        UniqueConstraint("organization_id", "id"),
        references(f"{table}_organization_exists", "organizations", "organization_id"),
        _not_reserved(),
        *more,
        comment=f"The {what}s of every organization.",
    )


Table(
    "organizations",
    orchestration_metadata,
    required("id", Uuid, "The organization."),
    required("name", Text, "Its name as people know it."),
    required(
        "time_zone",
        Text,
        "IANA name of the zone the organization lives in, such as Europe/Amsterdam.",
        server_default=text("'UTC'"),
    ),
    *_lifecycle(),
    PrimaryKeyConstraint("id"),
    _not_reserved(),
    comment="The tenants; every other row belongs to exactly one.",
)

_named_things(
    "workflows",
    "workflow",
    optional(
        "definition",
        JSONB,
        "What it does, as recorded, up to 1 MiB; NULL when it is not known, or larger and in blob storage.",
    ),
    optional(
        "definition_reference",
        Text,
        "Where in blob storage a larger definition is; NULL when it is here, or not known.",
    ),
    optional("definition_size_bytes", BigInteger, "How large the blob is; NULL without one."),
    optional(
        "definition_sha256",
        Text,
        "The SHA-256 of the blob in hexadecimal digits, which reading it checks; NULL without one.",
    ),
    _at_most_a_mebibyte("definition"),
    check("definition_is_in_one_place", "num_nonnulls(definition, definition_reference) <= 1"),
    check(
        "definition_reference_is_whole",
        "num_nulls(definition_reference, definition_size_bytes, definition_sha256) IN (0, 3)"
        " AND definition_size_bytes > 0 AND definition_sha256 ~ '^[0-9a-f]{64}$'",
    ),
)
_named_things("clients", "client")

job_status: Final = ENUM(*map(str, Status), name="job_status", metadata=orchestration_metadata)

Table(
    "jobs",
    orchestration_metadata,
    required("id", Uuid, "The job."),
    required("organization_id", Uuid, "The tenant that owns the job."),
    required("workflow_id", Uuid, "The workflow that was executed."),
    optional("client_id", Uuid, "The client it was executed for; NULL when for none."),
    optional(
        "initiator_type", Text, "What started it, such as USER or SCHEDULE; NULL when that is not known."
    ),
    required(
        "status",
        job_status,
        "COMPLETED and FAILED are counted; a finished job may be retried in place and run again.",
    ),
    optional(
        "result",
        JSONB,
        "What the execution returned, up to 1 MiB. May hold personal health data: the metrics never read it.",
    ),
    required("created_at", TIME, "When it was asked for.", server_default=func.now()),
    optional("started_at", TIME, "When it began to run; NULL before that. May precede created_at."),
    optional(
        "completed_at",
        TIME,
        "When it finished; NULL before that. The bucket it is counted in. May precede started_at.",
    ),
    required(
        "updated_at",
        TIME,
        "When the row last changed, by the clock of the server that changed it: not in commit order.",
        server_default=func.now(),
    ),
    optional("deleted_at", TIME, "When it was soft-deleted; NULL while it counts."),
    PrimaryKeyConstraint("id"),
    # What lets a row of a job name the job and its organization in one foreign key.
    UniqueConstraint("organization_id", "id"),
    references("jobs_workflow_is_of_the_same_organization", "workflows", "organization_id", "workflow_id"),
    references(
        "jobs_client_is_of_the_same_organization",
        *("clients", "organization_id", "client_id"),
        ondelete="SET NULL (client_id)",
    ),
    check("finished_has_completed_at", "status NOT IN ('COMPLETED', 'FAILED') OR completed_at IS NOT NULL"),
    check("initiator_type_is_not_reserved", f"initiator_type NOT IN ({listed(RESERVED_INITIATORS)})"),
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


def _job() -> tuple[Column[Any], ...]:
    return (
        required("organization_id", Uuid, "The tenant that owns the job."),
        required("job_id", Uuid, "The job."),
    )


def _of_the_same_organization(table: str) -> ForeignKeyConstraint:
    name = f"{table}_job_is_of_the_same_organization"
    return references(name, "jobs", "organization_id", "job_id")


execution_logs: Final = Table(
    "execution_logs",
    orchestration_metadata,
    required(
        "id",
        Uuid,
        "The line; unique together with its timestamp, as partitions have it.",
        server_default=func.gen_random_uuid(),
    ),
    *_job(),
    required("sequence", Integer, "The place of the line among those of its job, from 0."),
    required("level", log_level, "How grave it is. A step that ends in ERROR or FATAL has failed."),
    required(
        "timestamp",
        TIME,
        "When it was written; for a step, when the step ended. Decides the partition.",
        server_default=func.now(),
    ),
    optional(
        "step_name",
        Text,
        "The step that ended, by its name in the workflow; NULL for a line that is no step.",
    ),
    optional("message", Text, "What was said. May hold personal health data: the metrics never read it."),
    optional(
        "duration_ms",
        Double,
        "How long the step took, in milliseconds; NULL when it was not timed. May be negative, because"
        " clocks disagree: such a step is counted, and not timed.",
    ),
    optional(
        "metadata",
        JSONB,
        "Whatever else was known, up to 1 MiB. May hold personal health data: the metrics never read it.",
    ),
    PrimaryKeyConstraint("id", "timestamp"),
    _of_the_same_organization("execution_logs"),
    check("duration_is_a_number", "duration_ms > '-Infinity' AND duration_ms < 'Infinity'"),
    check("sequence_is_not_negative", "sequence >= 0"),
    # Infinity, and years that Python does not know, would make whoever reads the line fail.
    check(
        "timestamp_is_a_moment",
        "timestamp >= '0001-01-01 00:00:00+00' AND timestamp < '9999-01-01 00:00:00+00'",
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

Table(
    "execution_log_months",
    orchestration_metadata,
    required("month_start", TIME, "Inclusive start of the month, in UTC."),
    required("month_end", TIME, "Exclusive end of the month, in UTC."),
    optional(
        "archive_reference",
        Text,
        "Where in blob storage the lines are, as Parquet; NULL when they were not archived.",
    ),
    optional("archive_sha256", Text, "The SHA-256 of the archive in hexadecimal digits."),
    optional("archived_rows", BigInteger, "How many lines the archive holds."),
    optional("archived_at", TIME, "When it was written; NULL when it was not."),
    optional("dropped_at", TIME, "When the lines left the database; NULL while they are still there."),
    PrimaryKeyConstraint("month_start"),
    check("month_is_a_range", "month_start < month_end"),
    check(
        "archive_is_whole",
        "num_nulls(archive_reference, archive_sha256, archived_rows, archived_at) IN (0, 4)",
    ),
    check("month_was_archived_or_dropped", "num_nonnulls(archived_at, dropped_at) > 0"),
    comment="What became of old months of execution_logs. The step metrics of a month that was dropped are"
    " sealed: they stay, although nothing is left to compute them from.",
)

Table(
    "execution_screenshots",
    orchestration_metadata,
    required("id", Uuid, "The screenshot.", server_default=func.gen_random_uuid()),
    *_job(),
    optional("step_name", Text, "The step it was taken in; NULL outside of one."),
    required("screenshot_type", Text, "Why it was taken: STEP, ERROR or FINAL."),
    required(
        "image_reference", Text, "Where in blob storage the image is. It may show personal health data."
    ),
    required("image_size_bytes", BigInteger, "How large the image is."),
    required("image_sha256", Text, "The SHA-256 of the image in hexadecimal digits."),
    required("captured_at", TIME, "When it was taken."),
    *_lifecycle(),
    PrimaryKeyConstraint("id"),
    _of_the_same_organization("execution_screenshots"),
    _not_reserved(),
    check("type_is_known", "screenshot_type IN ('ERROR', 'FINAL', 'STEP')"),
    check("image_reference_is_whole", "image_size_bytes > 0 AND image_sha256 ~ '^[0-9a-f]{64}$'"),
    Index(
        "execution_screenshots_by_organization_id_captured_at", "organization_id", text("captured_at DESC")
    ),
    Index(None, "job_id"),
    comment="Pictures of executions. The organization is that of the job, by a key of both: so all pictures"
    " of an organization are found without a join.",
)

Table(
    "execution_rag_rules",
    orchestration_metadata,
    *_job(),
    required(
        "payers",
        JSONB,
        "The payers that were matched: an array of objects, each with name, id and scenario, which are"
        " texts. Up to 1 MiB.",
        server_default=_NO_OBJECTS,
    ),
    required(
        "rules",
        JSONB,
        "The rules that were considered: an array of objects, each with ruleId, ruleType, condition and"
        " action, which are texts, and wasUsed, which is true or false; others may be there. Up to 1 MiB.",
        server_default=_NO_OBJECTS,
    ),
    *_lifecycle(),
    PrimaryKeyConstraint("job_id"),
    _of_the_same_organization("execution_rag_rules"),
    check("payers_have_their_shape", _array_of(_PAYER, "payers")),
    check("rules_have_their_shape", _array_of(_RULE, "rules")),
    _at_most_a_mebibyte("payers"),
    _at_most_a_mebibyte("rules"),
    comment="Which payers and rules retrieval found for a job, one row a job.",
)


def _newest_executions(*columns: str) -> Index:
    name = "_".join(("execution_metadata_by", *columns, "created_at"))
    return Index(name, *columns, text("created_at DESC"), text("job_id DESC"))


execution_metadata: Final = Table(
    "execution_metadata",
    orchestration_metadata,
    *_job(),
    required("workflow_id", Uuid, "The workflow that was executed."),
    required("workflow_name", Text, "Its name when it was last synced."),
    optional("client_id", Uuid, "The client it was executed for; NULL when for none."),
    optional("client_name", Text, "Its name when it was last synced; NULL without a client."),
    optional("initiator_type", Text, "What started the job; NULL when that is not known."),
    required("status", job_status, "Where the job stood."),
    required("created_at", TIME, "When the job was asked for."),
    optional("started_at", TIME, "When it began to run; NULL before that."),
    optional("completed_at", TIME, "When it finished; NULL before that."),
    optional("deleted_at", TIME, "When it was soft-deleted; NULL while it counts."),
    required(
        "last_synced_at",
        TIME,
        "When a sync last wrote this row, because it differed from its sources. A sync that finds it equal"
        " leaves it: execution_metadata_syncs.synced_at says through when the organization is copied.",
    ),
    PrimaryKeyConstraint("job_id"),
    # Not together with the organization: a job that moves to another one is copied, never held back.
    references("execution_metadata_job_exists", "jobs", "job_id"),
    _newest_executions("organization_id"),
    _newest_executions("organization_id", "workflow_id"),
    _newest_executions("organization_id", "client_id"),
    comment="Jobs with the names of their workflows and clients, for dashboards that list them without a"
    " join. Copied by sync_metadata (execmetrics metadata sync, every hour by Dagster) from jobs, workflows"
    " and clients, and by nothing else: no trigger, no application code. A sync takes jobs that were written"
    " at or after the horizon in execution_metadata_syncs, and those whose workflow or client was, so that a"
    " new name reaches every row; jobs deleted for good leave by cascade. What somebody writes here by hand"
    " no such sync sees: a check compares with the sources and counts it as drift, and reconciling, which is"
    " a sync of everything, repairs it. The job is the only foreign key, so that no change of a job, workflow"
    " or client is refused for the sake of its copy.",
)

Table(
    "execution_metadata_syncs",
    orchestration_metadata,
    required("organization_id", Uuid, "The tenant."),
    required(
        "horizon",
        BigInteger,
        "64-bit transaction id below which every transaction had ended when it was last synced: the next"
        " sync takes rows written at or after it.",
    ),
    required(
        "server",
        BigInteger,
        "Whose transaction ids these are, by its system identifier: restored into another server, a horizon"
        " tells nothing, and the next sync takes everything.",
    ),
    required("synced_at", TIME, "Whatever was committed by then has been copied."),
    PrimaryKeyConstraint("organization_id"),
    references("execution_metadata_syncs_organization_exists", "organizations", "organization_id"),
    comment="How far each organization's execution_metadata has been synced. It stays where it was while an"
    " application holds a lock on what had to be copied: the next sync then takes the same again.",
)

Table(
    "phi_access_log",
    orchestration_metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, comment="The access, in order."),
    required("accessed_at", TIME, "When.", server_default=func.clock_timestamp()),
    required("accessed_by", Text, "Who, as the application knows them."),
    required("organization_id", Uuid, "Whose rows: the tenant."),
    required("accessed", Text, "What: the table, and the column if it is one."),
    optional("job_id", Uuid, "Of which job; NULL when not of one job."),
    required("purpose", Text, "Why, in the words of whoever asked."),
    PrimaryKeyConstraint("id"),
    check("access_is_explained", "accessed_by <> '' AND purpose <> ''"),
    Index(None, "organization_id", "accessed_at"),
    comment="Who read rows that may hold personal health data. Written before the rows are given out, and"
    " append-only: nobody may change or delete a row, and a trigger refuses it to whoever may.",
)

_DEFAULT_PARTITION: Final = (
    f"CREATE TABLE {ORCHESTRATION}.execution_logs_default PARTITION OF {ORCHESTRATION}.execution_logs DEFAULT"
)
event.listen(execution_logs, "after_create", DDL(_DEFAULT_PARTITION))  # type: ignore[no-untyped-call]

"""What Dagster's catalogue shows of a table: its columns, where they come from, and its runbook."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from pipelines.frames import schema_of
from pipelines.postgres import tables
from pipelines.settings import load_settings
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import HISTOGRAM, Subject

Metadata = dict[str, Any]

RUNBOOK: Final = "docs/operations.md"

_CHECKOUT: Final = Path(__file__).resolve().parents[1]

# Dagster looks once a minute.
_SHORTEST_WINDOW: Final = timedelta(minutes=1)

# Jobs are hashed with whatever can move a figure.
_HASHED: Final = (
    "organization_id",
    "workflow_id",
    "client_id",
    "initiator_type",
    "status",
    "created_at",
    "started_at",
    "completed_at",
    "deleted_at",
)


def freshness() -> dg.FreshnessPolicy:
    """A table that no run has written for EXECMETRICS_LAG_LIMIT is not fresh."""
    return dg.FreshnessPolicy.time_window(fail_window=max(load_settings().lag_limit, _SHORTEST_WINDOW))


def of_job_facts(jobs: dg.AssetKey) -> Metadata:
    """What is shown of the facts, which come from the source's `jobs`."""
    columns = {name: [name] for name in JOBS.fact.stored_columns} | {
        "job_id": ["id"],
        "row_hash": [*_HASHED],
        "gone": ["status", "started_at", "completed_at", "deleted_at"],
        "created_date": ["created_at"],
    }
    stored = schema_of(JOBS.fact.stored_columns).items()
    schema = dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in stored])
    return _shown("job_facts", schema, _from(jobs, columns), "replay-and-moving-the-facts")


def of_aggregate_metrics(facts: dg.AssetKey) -> Metadata:
    """What is shown of the aggregates, which come from the `facts`, as the database documents them."""
    columns = {name: [name] for name in JOBS.dimension_columns} | _measured(
        JOBS, row="job_id", outcome="status", duration=["started_at", "completed_at"], ended="completed_at"
    )
    schema = _documented(tables.aggregate_metrics.columns)
    return _shown("analytics.aggregate_metrics", schema, _from(facts, columns), "backfill")


def of_aggregate_step_metrics(logs: dg.AssetKey, jobs: dg.AssetKey) -> Metadata:
    """The same of the aggregates of steps, which come from the `logs` and from the `jobs` that wrote them."""
    columns = {"step_name": ["step_name"]} | _measured(
        STEPS, row="id", outcome="level", duration=["duration_ms"], ended="timestamp"
    )
    lineage = _from(logs, columns) | _from(jobs, {"workflow_id": ["workflow_id"]})
    schema = _documented(tables.aggregate_step_metrics.columns)
    return _shown("analytics.aggregate_step_metrics", schema, lineage, "backfill")


def of_execution_metadata(jobs: dg.AssetKey) -> Metadata:
    """The same of the executions and their names, which come from the `jobs` and from what these name."""
    names = [column.name for column in tables.execution_metadata.columns if column.name != "last_synced_at"]
    columns = {name: [name] for name in names} | {
        "job_id": ["id"],
        "workflow_name": ["workflow_id"],
        "client_name": ["client_id"],
    }
    schema = _documented(tables.execution_metadata.columns)
    return _shown("orchestration.execution_metadata", schema, _from(jobs, columns), "what-runs-by-itself")


def _shown(
    table: str, schema: dg.TableSchema, lineage: Mapping[str, Sequence[dg.TableColumnDep]], section: str
) -> Metadata:
    shown: Metadata = {
        "dagster/table_name": table,
        "dagster/column_schema": schema,
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
        "runbook": dg.MetadataValue.path(f"{RUNBOOK}#{section}"),
    }
    # A wheel has no documents.
    if (_CHECKOUT / RUNBOOK).is_file():
        runbook = dg.LocalFileCodeReference(file_path=str(_CHECKOUT / RUNBOOK), label="the runbook")
        shown["dagster/code_references"] = dg.CodeReferencesMetadataValue(code_references=[runbook])
    return shown


def _measured(
    subject: Subject, *, row: str, outcome: str, duration: list[str], ended: str
) -> dict[str, list[str]]:
    """What the columns of a cell are computed from, the dimensions aside."""
    columns = {"organization_id": ["organization_id"], "period": [ended], "period_start": [ended]}
    for name in (*subject.measure_columns, *HISTOGRAM):
        if name == "total_executions":
            columns[name] = [row]
        elif name == "timed_executions" or "duration" in name or name in HISTOGRAM:
            columns[name] = duration
        else:
            columns[name] = [outcome]
    return columns


def _from(asset: dg.AssetKey, columns: Mapping[str, Sequence[str]]) -> dict[str, list[dg.TableColumnDep]]:
    return {name: [dg.TableColumnDep(asset, each) for each in above] for name, above in columns.items()}


def _documented(columns: Iterable[Any]) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                str(column.type).lower(),
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
            )
            for column in columns
        ]
    )

"""What Dagster's catalogue shows of a table: its columns, where they come from, and its runbook."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from pipelines.frames import schema_of
from pipelines.postgres.tables import METADATA
from pipelines.settings import load_settings
from pipelines.subjects.measures import TIMED, Kind, Measure
from pipelines.subjects.subject import TOMBSTONE, Subject

Metadata = dict[str, Any]

# A column and the columns of an asset that it is computed from.
Lineage = Mapping[str, Sequence[str]]

RUNBOOK: Final = "docs/operations.md"

_CHECKOUT: Final = Path(__file__).resolve().parents[1]

# Dagster looks once a minute.
_SHORTEST_WINDOW: Final = timedelta(minutes=1)


def freshness() -> dg.FreshnessPolicy:
    """A table that no run has written for EXECMETRICS_LAG_LIMIT is not fresh."""
    return dg.FreshnessPolicy.time_window(fail_window=max(load_settings().lag_limit, _SHORTEST_WINDOW))


def of_facts(subject: Subject, source: dg.AssetKey) -> Metadata:
    """What is shown of the facts of a subject, which come from a table of the source."""
    fact, name = subject.fact, subject.fact.table
    ends = [*([subject.outcome_column] if subject.outcome_column else []), *subject.duration, "deleted_at"]
    hashed = [each for each in fact.columns if each not in (fact.key, "row_hash")]
    lineage = {each: [each] for each in fact.columns} | {
        fact.key: ["id"],
        "row_hash": [*hashed, "deleted_at"],
        TOMBSTONE: ends,
        fact.partition_column: [fact.partition_column.replace("_date", "_at")],
    }
    columns = [dg.TableColumn(name, str(dtype)) for name, dtype in schema_of(fact.stored_columns).items()]
    section = "replay-and-moving-the-facts"
    return _shown(name, dg.TableSchema(columns), _depending({source: lineage}), section)


def of_cells(subject: Subject, rows: dg.AssetKey, jobs: dg.AssetKey) -> Metadata:
    """What is shown of a subject's cells, which come from an asset of its facts.

    Where the facts are no asset, cells come from `rows` of the source and from their `jobs`.
    """
    computed, source = _computed(subject), subject.source
    lineage = {rows: computed}
    if source:
        stems = {each.removesuffix("_ms"): each for each in source.columns}
        read = {name: stems.get(name.removesuffix("_us"), "") for name in subject.fact.columns}
        read |= {subject.fact.key: source.key, subject.fact.time: source.time}
        of_rows = {name: [read[each] for each in above] for name, above in computed.items() if read[above[0]]}
        of_jobs = {name: above for name, above in computed.items() if name not in of_rows}
        lineage = {rows: of_rows, jobs: of_jobs}
    _, schema = _documented("analytics", subject.table)
    return _shown(f"analytics.{subject.table}", schema, _depending(lineage), "backfill")


def of_execution_metadata(jobs: dg.AssetKey) -> Metadata:
    """The same of the executions and their names, which come from the `jobs` and from what these name."""
    columns, schema = _documented("orchestration", "execution_metadata")
    copied = {name: [name] for name in columns if name != "last_synced_at"}
    renamed = {"job_id": ["id"], "workflow_name": ["workflow_id"], "client_name": ["client_id"]}
    lineage = _depending({jobs: copied | renamed})
    return _shown("orchestration.execution_metadata", schema, lineage, "what-runs-by-itself")


def _computed(subject: Subject) -> Lineage:
    """What the columns of a cell are computed from, as the facts call it."""
    ended = [subject.fact.time]
    columns = {"organization_id": ["organization_id"], "period": ended, "period_start": ended}
    return {
        **columns,
        **{name: [name] for name in subject.dimension_columns},
        **{each.name: _measured(each, subject) for each in subject.measures},
        **{name: list(subject.duration) for name in subject.histogram_columns},
    }


def _measured(measure: Measure, subject: Subject) -> list[str]:
    if measure.name == subject.total:
        return [subject.fact.key]
    outcome = [subject.outcome_column] if subject.outcome_column and measure.among in subject.outcomes else []
    timed = measure.is_duration or (measure.kind is Kind.COUNT and measure.among == TIMED)
    return [*(subject.duration if timed else ()), *outcome]


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


def _depending(above: Mapping[dg.AssetKey, Lineage]) -> dict[str, list[dg.TableColumnDep]]:
    return {
        name: [dg.TableColumnDep(asset, each) for each in columns]
        for asset, lineage in above.items()
        for name, columns in lineage.items()
    }


def _documented(schema: str, table: str) -> tuple[list[str], dg.TableSchema]:
    """The columns of a table of ours, by name and as the database documents them."""
    columns = METADATA[schema].tables[f"{schema}.{table}"].columns
    shown = [
        dg.TableColumn(
            column.name,
            str(column.type).lower(),
            description=column.comment,
            constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
        )
        for column in columns
    ]
    return [column.name for column in shown], dg.TableSchema(shown)

"""The columns of the tables, as Dagster's catalogue shows them."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from pipelines.storage import tables
from pipelines.storage.facts import STORED_COLUMNS


def of_job_facts() -> dg.TableSchema:
    """Names and types of the facts."""
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in STORED_COLUMNS.items()])


def of_aggregate_metrics() -> dg.TableSchema:
    """Names, types and meanings of the aggregates, as the database documents them."""
    return _documented(tables.aggregate_metrics.columns)


def of_aggregate_step_metrics() -> dg.TableSchema:
    """The same of the aggregates of steps."""
    return _documented(tables.aggregate_step_metrics.columns)


def of_execution_metadata() -> dg.TableSchema:
    """The same of the executions and their names."""
    return _documented(tables.execution_metadata.columns)


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

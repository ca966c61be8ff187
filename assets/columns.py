"""The columns of the tables, as Dagster's catalogue shows them."""

import dagster as dg

from pipelines.storage import tables
from pipelines.storage.facts import STORED_COLUMNS


def of_job_facts() -> dg.TableSchema:
    """Names and types of the facts."""
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in STORED_COLUMNS.items()])


def of_aggregate_metrics() -> dg.TableSchema:
    """Names, types and meanings of the aggregates, as the database documents them."""
    return _documented("aggregate_metrics")


def of_aggregate_step_metrics() -> dg.TableSchema:
    """The same of the aggregates of steps."""
    return _documented("aggregate_step_metrics")


def _documented(table: str) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                str(column.type).lower(),
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
            )
            for column in tables.METADATA[tables.ANALYTICS].tables[f"{tables.ANALYTICS}.{table}"].columns
        ]
    )

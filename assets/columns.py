"""The columns of both tables, as Dagster's catalogue shows them."""

import dagster as dg

from pipelines.storage import tables
from pipelines.storage.facts import STORED_COLUMNS


def of_job_facts() -> dg.TableSchema:
    """Names and types of the facts."""
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in STORED_COLUMNS.items()])


def of_aggregate_metrics() -> dg.TableSchema:
    """Names, types and meanings of the aggregates, as the database documents them."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                str(column.type).lower(),
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
            )
            for column in tables.aggregate_metrics.columns
        ]
    )

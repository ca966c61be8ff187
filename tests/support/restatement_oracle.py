"""What is on record of cells that changed after their period was over, and what should be."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tests.support.planting import KEY, Cell, Key, Tenant

# Beside the figures of a cell.
_NO_FIGURES = ("computed_at", "definition_version", "histogram_buckets", "histogram_counts")

Figures = dict[str, Any] | None


class Restated(NamedTuple):
    """One row of the record, without its time and run."""

    reason: str
    old: Figures
    new: Figures


def restated(analytics: psycopg.Connection, organization: UUID | None = None) -> dict[Key, list[Restated]]:
    """What is on record, the oldest first, by the six columns of the cell's key."""
    found: dict[Key, list[Restated]] = {}
    with analytics.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM analytics.restatements"
            " WHERE subject = 'jobs'"
            " AND (%(organization)s::uuid IS NULL OR organization_id = %(organization)s)"
            " ORDER BY restated_at",
            {"organization": organization},
        )
        for row in cursor:
            cell = {name: UUID(of) if name.endswith("_id") else of for name, of in row["cell"].items()}
            key = tuple((row | cell)[name] for name in KEY.split(", "))
            found.setdefault(key, []).append(Restated(row["reason"], row["old"], row["new"]))
    return found


def changes(before: Mapping[Key, Cell], after: Mapping[Key, Cell], reason: str) -> dict[Key, list[Restated]]:
    """What should be on record when these cells became those, all of their periods being over."""
    return {
        key: [Restated(reason, figures(before.get(key)), figures(after.get(key)))]
        for key in before.keys() | after.keys()
        if figures(before.get(key)) != figures(after.get(key))
    }


def figures(cell: Cell | None) -> Figures:
    """A cell without when and how it was computed."""
    return cell and {name: value for name, value in cell.items() if name not in _NO_FIGURES}


def complete_through(analytics: psycopg.Connection, tenant: Tenant, moment: datetime) -> None:
    """Have a tenant as complete as it was when that moment was read."""
    update = "UPDATE analytics.watermarks SET complete_through = %s WHERE organization_id = %s"
    analytics.execute(update, [moment, tenant.organization])

"""Everything that is published of each organization, in a form that two runs of the same work agree on."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

# What a publication writes in one transaction; the column that says for whom is the first.
TABLES = {
    "aggregate_metrics": "organization_id",
    "restatements": "organization_id",
    "watermarks": "organization_id",
    "refresh_outcomes": "organization_id",
    "job_anomalies": "job_id",
    "organizations": "id",
    "workflows": "id",
    "clients": "id",
}

# These are another run's, and another moment's, when the same work is done again.
OF_THE_RUN = {
    "computed_at", "restated_at", "extracted_at", "complete_through", "published_at", "swept_at",
    "checkpoint", "finished_at", "first_seen_at", "last_seen_at", "run_id", "facts_table_id",
    "old_computed_at", "guarded_at",
}  # fmt: skip
# Told in a transaction of its own, or by a clock.
LEFT_OUT = {"milliseconds", "verified_at", "audited_at"}

# Steps are published in transactions of their own.
_OF_JOBS = dict.fromkeys(("refresh_outcomes", "restatements", "watermarks"), "WHERE subject = 'jobs'")

Rows = dict[str, list[dict[str, Any]]]
Published = dict[UUID, Rows]


def published(analytics: psycopg.Connection) -> Rows:
    """Every row of every table that readers may look into, as of one moment."""
    with analytics.transaction(), analytics.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return {
            table: cursor.execute(f"SELECT * FROM analytics.{table} {_OF_JOBS.get(table, '')}").fetchall()
            for table in TABLES
        }


def by_organization(rows: Rows, before: Rows, owners: Mapping[UUID, UUID]) -> Published:
    """The same for each organization; what was not there `before` of times and runs is called new.

    `owners` says whose each job, workflow and client is: one that changes hands is published with the
    organization from which the change is found again until that one is published.
    """
    known = {repr(row[name]) for each in before.values() for row in each for name in OF_THE_RUN & row.keys()}
    found: Published = defaultdict(lambda: {table: [] for table in TABLES})
    for table, column in TABLES.items():
        for row in rows[table]:
            owner = owners.get(row[column], row.get("organization_id", row[column]))
            found[owner][table].append(
                {
                    name: value if name not in OF_THE_RUN or value is None or repr(value) in known else "new"
                    for name, value in row.items()
                    if name not in LEFT_OUT
                }
            )
    for each in found.values():
        for table in TABLES:
            each[table].sort(key=repr)
    return dict(found)

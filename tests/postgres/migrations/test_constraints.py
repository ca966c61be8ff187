"""Each constraint refuses the row that would break it, and its name says what was broken."""

import math
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from pipelines.postgres.connections import Databases
from tests.support.broken_rows import BROKEN, NOBODY, accepted, each
from tests.support.oracle import ALL, NO_CLIENT
from tests.support.planting import NOON, new_id, plant_job, plant_tenant
from tests.support.postgres_catalog import constraints

pytestmark = pytest.mark.every_postgres

FIGURES = ("total", "average", "min", "max", "median", "p90", "p95", "p99")

# A cell of one completed job that took a second, which every constraint accepts.
CELL: Mapping[str, Any] = {
    "organization_id": NOBODY,
    "period": "hour",
    "period_start": NOON,
    "workflow_id": ALL,
    "client_id": ALL,
    "initiator_type": "all",
    **{f"{outcome}_executions": 1 for outcome in ("total", "completed", "timed")},
    "failed_executions": 0,
    "success_rate_pct": 100.0,
    **{f"{figure}_duration_ms": 1000.0 for figure in FIGURES},
    "definition_version": 1,
    "computed_at": NOON,
}

UNTIMED = {name: None for name in CELL if name.endswith("_duration_ms")} | {
    "timed_executions": 0,
    "total_duration_ms": 0,
}

TOLD = {"total_executions": 3, "completed_executions": 3, "timed_executions": 3} | {
    "histogram_buckets": [-1, 700],
    "histogram_counts": [1, 2],
}

# A cell of one step that completed in a second.
STEP_CELL: Mapping[str, Any] = {
    name: value
    for name, value in CELL.items()
    if name not in ("client_id", "initiator_type", "success_rate_pct")
} | {"step_name": "Open chart", "warned_executions": 0}

CELLS = {"aggregate_metrics": CELL, "aggregate_step_metrics": STEP_CELL}


def of_completed(median: float, p95: float) -> dict[str, float]:
    """Percentiles of the completed jobs alone."""
    return {"median_completed_duration_ms": median, "p95_completed_duration_ms": p95}


# What to change in a possible cell of each table.
POSSIBLE = {
    "aggregate_metrics": [
        *({}, UNTIMED, TOLD, {"min_duration_ms": 0.0}, {"client_id": NO_CLIENT}),
        of_completed(1000.0, 1000.0),
    ],
    "aggregate_step_metrics": [{}, UNTIMED, TOLD],
}

# By rule, what to change so that this rule is the one that is broken: of either table, then of each.
OF_EITHER: Mapping[str, list[dict[str, Any]]] = {
    "period_is_known": each("period", "year", "HOUR"),
    "counts_are_not_negative": [
        {"completed_executions": 2, "failed_executions": -1},
        {"completed_executions": -1, "failed_executions": 2},
        UNTIMED | {"timed_executions": -1},
    ],
    "timed_are_among_the_counted": [{"timed_executions": 2}],
    "durations_are_null_when_none_is_timed": [
        {"timed_executions": 0, "total_duration_ms": 0},
        *({f"{figure}_duration_ms": None} for figure in ("p99", "average")),
        UNTIMED | {"timed_executions": 1},
    ],
    "durations_are_numbers": [
        *each("total_duration_ms", -1, math.nan),
        *each("average_duration_ms", -1, math.inf),
        {"max_duration_ms": math.nan},
    ],
    "durations_are_in_order": [
        {"min_duration_ms": -1},
        {"max_duration_ms": 999},
        *({f"{figure}_duration_ms": 1001} for figure in ("min", "median", "p90", "p95", "p99")),
    ],
    "histogram_is_whole": [
        TOLD | {"histogram_counts": [2]},
        TOLD | {"histogram_counts": None},
        TOLD | {"histogram_buckets": None},
        TOLD | {"period": "week"},
        TOLD | {"timed_executions": 2},
    ],
}
NONE_COUNTED = UNTIMED | {"total_executions": 0, "completed_executions": 0}
IMPOSSIBLE_CELLS: Mapping[str, Mapping[str, list[dict[str, Any]]]] = {
    "aggregate_metrics": {
        **OF_EITHER,
        "total_is_the_sum_of_the_outcomes": [{"total_executions": 2}],
        "counts_at_least_one_job": [NONE_COUNTED],
        "total_is_zero_when_none_is_timed": [UNTIMED | {"total_duration_ms": 1}],
        "success_rate_is_a_percentage": each("success_rate_pct", 100.1, -0.1, math.nan),
        "durations_of_completed_are_in_order": [
            {"median_completed_duration_ms": 1000.0},
            *(of_completed(*wrong) for wrong in ((999.0, 1000.0), (1000.0, 1001.0))),
            of_completed(950.0, 940.0) | {"min_duration_ms": 900.0},
        ],
    },
    "aggregate_step_metrics": {
        **OF_EITHER,
        "counts_are_not_negative": [
            *OF_EITHER["counts_are_not_negative"],
            {"completed_executions": 2, "warned_executions": -1},
        ],
        "step_has_a_name": [{"step_name": ""}],
        "total_is_the_sum_of_the_outcomes": [{"total_executions": 2}, {"warned_executions": 1}],
        "counts_at_least_one_step": [NONE_COUNTED],
        "total_is_zero_when_none_is_timed": [UNTIMED | {"total_duration_ms": 1}],
    },
}


@pytest.mark.parametrize("table", CELLS)
def test_an_impossible_cell_is_refused(analytics: Connection, table: str) -> None:
    """Neither a bug nor a person at a prompt can store figures that no set of jobs or of steps has."""
    for rule, all_of in IMPOSSIBLE_CELLS[table].items():
        for broken in all_of:
            refused = refused_by(analytics, f"analytics.{table}", CELLS[table] | broken)
            assert refused == f"{table}_{rule}", broken


@pytest.mark.parametrize("table", CELLS)
def test_a_possible_cell_is_kept_once(analytics: Connection, table: str) -> None:
    """The columns of the key name one cell; a neighbour may have the same others."""
    for possible in POSSIBLE[table]:
        cell, neighbours = (CELLS[table] | possible | {"organization_id": new_id()} for _ in range(2))
        insert(analytics, f"analytics.{table}", cell)
        insert(analytics, f"analytics.{table}", neighbours)

        assert refused_by(analytics, f"analytics.{table}", cell) == f"{table}_primary_key"


OF_ANOTHER = {"subject_is_known": {"subject": "moods"}}
IMPOSSIBLE_RECORDS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "job_anomalies": {"effect_is_known": {"effect": "ignored"}},
    "refresh_outcomes": OF_ANOTHER
    | {"outcome_is_known": {"outcome": "skipped"}, "failures_have_a_class": {"outcome": "failed"}},
    "restatements": OF_ANOTHER
    | {"reason_is_known": {"reason": "mood"}, "something_was_restated": {"new": None}},
    "watermarks": OF_ANOTHER,
}
RECORDS: Mapping[str, dict[str, Any]] = {
    "job_anomalies": {
        **dict.fromkeys(("job_id", "organization_id"), NOBODY),
        "reason": "negative_duration",
        "effect": "not_timed",
        **dict.fromkeys(("first_seen_at", "last_seen_at"), NOON),
    },
    "refresh_outcomes": {
        **dict.fromkeys(("run_id", "organization_id"), NOBODY),
        "subject": "jobs",
        "outcome": "published",
        "finished_at": NOON,
        "milliseconds": 1,
    },
    "restatements": {
        **{name: CELL[name] for name in ("organization_id", "period", "period_start")},
        "subject": "jobs",
        "cell": "{}",
        "reason": "late",
        "run_id": NOBODY,
        "restated_at": NOON,
        "new": "{}",
    },
    "watermarks": {
        "subject": "jobs",
        "organization_id": NOBODY,
        **dict.fromkeys(("swept_at", "complete_through", "extracted_at", "published_at"), NOON),
        "facts_table_id": NOBODY,
        "published_version": 1,
        "definition_version": 1,
        "time_zone": "UTC",
        "zone_offsets": "",
    },
}


@pytest.mark.parametrize("table", IMPOSSIBLE_RECORDS)
def test_an_impossible_record_is_refused(analytics: Connection, table: str) -> None:
    """What a run writes has a known outcome, reason or effect, and is kept once."""
    insert(analytics, f"analytics.{table}", RECORDS[table])

    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(analytics, f"analytics.{table}", RECORDS[table])
    for rule, broken in IMPOSSIBLE_RECORDS[table].items():
        assert refused_by(analytics, f"analytics.{table}", RECORDS[table] | broken) == f"{table}_{rule}"


@pytest.mark.parametrize("table", BROKEN)
def test_an_impossible_row_of_executions_is_refused(source: Connection, table: str) -> None:
    """Each rule refuses what breaks it, by its name; what breaks none is kept, and kept once.

    A job names its own organization's workflow and client, and a finished one says when it finished.
    """
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job, theirs = plant_job(source, tenant), {"job_id": plant_job(source, neighbour)}
    theirs |= {"workflow_id": neighbour.workflows[0], "client_id": neighbour.clients[0]}

    for rule, all_of in BROKEN[table].items():
        for broken in all_of:
            changes = {name: theirs[name] if value == "theirs" else value for name, value in broken.items()}
            row = accepted(table, tenant, job) | changes
            assert refused_by(source, f"orchestration.{table}", row) == f"{table}_{rule}"
    row = accepted(table, tenant, job)
    insert(source, f"orchestration.{table}", row)
    # Where the database makes the id, the next row has another.
    if table not in ("execution_logs", "execution_screenshots", "phi_access_log"):
        assert refused_by(source, f"orchestration.{table}", row) == f"{table}_primary_key"


def test_what_real_data_has_is_accepted(source: Connection) -> None:
    """Ends before starts, starts before requests, no start and no client are kept for the metrics to list."""
    tenant = plant_tenant(source)

    for columns in (
        {"started_at": NOON, "completed_at": NOON.replace(hour=1)},
        {"started_at": None},
        {"created_at": NOON.replace(year=2099)},
        {"client_id": None, "initiator_type": None},
        {"initiator_type": "unknown"},
        {"status": "RUNNING", "completed_at": None},
        {"status": "CANCELLED", "completed_at": None, "started_at": None},
    ):
        plant_job(source, tenant, **columns)

    assert source.execute("SELECT count(*) FROM orchestration.jobs").fetchone() == (7,)


def test_a_deleted_organization_takes_its_rows_along(source: Connection) -> None:
    """Deleting a tenant leaves no orphan of it, and nothing of a neighbour goes."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    kept = plant_job(source, neighbour)

    source.execute("DELETE FROM orchestration.organizations WHERE id = %s", [tenant.organization])

    assert source.execute("SELECT id FROM orchestration.jobs").fetchall() == [(kept,)]
    for table in ("workflows", "clients"):
        left = source.execute(f"SELECT organization_id FROM orchestration.{table}").fetchall()
        assert left == [(neighbour.organization,)] * 2


def test_no_constraint_is_left_untried(databases: Databases) -> None:
    """Every CHECK and foreign key of both schemas is broken by a test above."""
    of_tables = IMPOSSIBLE_RECORDS | IMPOSSIBLE_CELLS | BROKEN
    tried = {f"{table}_{rule}" for table, rules in of_tables.items() for rule in rules}

    url = databases.analytics_url
    assert constraints(url, "orchestration", "cf") | constraints(url, "analytics", "cf") == tried


def insert(connection: Connection, table: str, row: Mapping[str, Any]) -> None:
    """Insert one row, its columns as named."""
    values = ", ".join(f"%({name})s" for name in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", row)


def refused_by(connection: Connection, table: str, row: Mapping[str, Any]) -> str | None:
    """The constraint that refuses a row, if one does."""
    try:
        insert(connection, table, row)
    except psycopg.IntegrityError as refusal:
        return refusal.diag.constraint_name
    return None

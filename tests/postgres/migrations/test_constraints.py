"""Each constraint refuses the row that would break it, and its name says what was broken."""

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from pipelines.postgres.connections import Databases
from tests.support.broken_rows import BROKEN, NOBODY, accepted
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
    "total_executions": 1,
    "completed_executions": 1,
    "failed_executions": 0,
    "timed_executions": 1,
    "definition_version": 1,
    "success_rate_pct": 100.0,
    **{f"{each}_duration_ms": 1000.0 for each in FIGURES},
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

# What to change in a possible cell of each table.
POSSIBLE = {
    "aggregate_metrics": [
        *({}, UNTIMED, TOLD, {"min_duration_ms": 0.0}, {"client_id": NO_CLIENT}),
        {"median_completed_duration_ms": 1000.0, "p95_completed_duration_ms": 1000.0},
    ],
    "aggregate_step_metrics": [{}, UNTIMED, TOLD],
}

# By rule, what to change so that this rule is the one that is broken: of either table, then of each.
OF_EITHER: Mapping[str, list[dict[str, Any]]] = {
    "period_is_known": [{"period": "year"}, {"period": "HOUR"}],
    "counts_are_not_negative": [
        {"completed_executions": 2, "failed_executions": -1},
        {"completed_executions": -1, "failed_executions": 2},
        UNTIMED | {"timed_executions": -1},
    ],
    "timed_are_among_the_counted": [{"timed_executions": 2}],
    "durations_are_null_when_none_is_timed": [
        {"timed_executions": 0, "total_duration_ms": 0},
        {"p99_duration_ms": None},
        {"average_duration_ms": None},
        UNTIMED | {"timed_executions": 1},
    ],
    "durations_are_numbers": [
        {"total_duration_ms": -1},
        {"total_duration_ms": float("nan")},
        {"average_duration_ms": -1},
        {"average_duration_ms": float("inf")},
        {"max_duration_ms": float("nan")},
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
        "success_rate_is_a_percentage": [{"success_rate_pct": rate} for rate in (100.1, -0.1, float("nan"))],
        "durations_of_completed_are_in_order": [
            {"median_completed_duration_ms": 1000.0},
            {"median_completed_duration_ms": 999.0, "p95_completed_duration_ms": 1000.0},
            {"median_completed_duration_ms": 1000.0, "p95_completed_duration_ms": 1001.0},
            {
                "min_duration_ms": 900.0,
                "median_completed_duration_ms": 950.0,
                "p95_completed_duration_ms": 940.0,
            },
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


IMPOSSIBLE_RECORDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "job_anomalies_effect_is_known": ("job_anomalies", {"effect": "ignored"}),
    "refresh_outcomes_outcome_is_known": ("refresh_outcomes", {"outcome": "skipped"}),
    "refresh_outcomes_subject_is_known": ("refresh_outcomes", {"subject": "moods"}),
    "refresh_outcomes_failures_have_a_class": ("refresh_outcomes", {"outcome": "failed"}),
    "restatements_reason_is_known": ("restatements", {"reason": "mood"}),
    "restatements_subject_is_known": ("restatements", {"subject": "moods"}),
    "restatements_something_was_restated": ("restatements", {"new": None}),
    "watermarks_subject_is_known": ("watermarks", {"subject": "moods"}),
}
RECORDS: Mapping[str, dict[str, Any]] = {
    "job_anomalies": {
        "job_id": NOBODY,
        "organization_id": NOBODY,
        "reason": "negative_duration",
        "effect": "not_timed",
        "first_seen_at": NOON,
        "last_seen_at": NOON,
    },
    "refresh_outcomes": {
        "run_id": NOBODY,
        "organization_id": NOBODY,
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


@pytest.mark.parametrize("constraint", IMPOSSIBLE_RECORDS)
def test_an_impossible_record_is_refused(analytics: Connection, constraint: str) -> None:
    """What a run writes has a known outcome, reason or effect, and is kept once."""
    table, broken = IMPOSSIBLE_RECORDS[constraint]
    insert(analytics, f"analytics.{table}", RECORDS[table])

    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(analytics, f"analytics.{table}", RECORDS[table])
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        insert(analytics, f"analytics.{table}", RECORDS[table] | broken)

    assert refusal.value.diag.constraint_name == constraint


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
    tried = {
        *IMPOSSIBLE_RECORDS,
        *(f"{table}_{rule}" for table, rules in (IMPOSSIBLE_CELLS | BROKEN).items() for rule in rules),
    }

    there = {
        name
        for schema in ("orchestration", "analytics")
        for name in constraints(databases.analytics_url, schema, "cf")
    }

    assert there == tried


def insert(connection: Connection, table: str, row: Mapping[str, Any]) -> None:
    """Insert one row, its columns as named."""
    connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f'%({name})s' for name in row)})", row
    )


def refused_by(connection: Connection, table: str, row: Mapping[str, Any]) -> str | None:
    """The constraint that refuses a row, if one does."""
    try:
        insert(connection, table, row)
    except psycopg.IntegrityError as refusal:
        return refusal.diag.constraint_name
    return None

"""The audit goes round: it finds figures that somebody else wrote, repairs them, and keeps the old ones."""

import random
import shutil
from typing import Any

import psycopg
import pytest

from pipelines.postgres.connections import Databases
from pipelines.runs import audit as audits
from pipelines.runs.audit import AuditReport, audit
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings
from tests.support import restatement_oracle
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import (
    DAY,
    HOUR,
    KEY,
    NOON,
    Tenant,
    cells,
    plant_job,
    plant_jobs,
    plant_tenant,
    row_versions,
)

TENANTS, SLICES, CORRUPTED = 6, 3, 100


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two organizations have their turn at a time, although they have few cells."""
    monkeypatch.setattr(audits, "_FEWEST_CELLS", 1)


@pytest.fixture
def tenants(databases: Databases, settings: Settings, source: psycopg.Connection) -> list[Tenant]:
    """Organizations with cells in every period, refreshed."""
    found = [plant_tenant(source, f"Acme {number}") for number in range(TENANTS)]
    for tenant in found:
        plant_jobs(
            source,
            tenant,
            [
                {
                    "completed_at": NOON + (number % 9) * DAY + (number % 5) * HOUR,
                    "workflow_id": tenant.workflows[number % 2],
                    "client_id": (*tenant.clients, None)[number % 3],
                    "status": ("COMPLETED", "FAILED")[number % 4 == 0],
                }
                for number in range(30)
            ],
        )
    refresh(databases, settings)
    return found


@pytest.mark.usefixtures("tenants")
def test_a_cycle_over_right_cells_finds_nothing(
    databases: Databases, settings: Settings, analytics: psycopg.Connection
) -> None:
    """No false alarm, not a row written, and every organization is verified once."""
    before = row_versions(analytics)

    reports = cycle(databases, settings)

    assert [report.found for report in reports] == [()] * SLICES
    assert sorted(key for report in reports for key in report.verified) == sorted(
        row[0]
        for row in analytics.execute(
            "SELECT organization_id FROM analytics.watermarks WHERE subject = 'jobs'"
        )
    )
    assert row_versions(analytics) == before
    assert unverified(analytics) == 0
    assert restated(analytics) == []


@pytest.mark.usefixtures("tenants")
def test_a_cycle_finds_and_repairs_a_hundred_corrupted_cells(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Counts, figures, a cell that is gone, one too many: all are found, repaired and on record, no other."""
    right = cells(analytics)
    corrupted = corrupt(analytics, random.Random(12))

    reports = cycle(databases, settings)

    found = {
        (difference.organization_id, difference.period, difference.period_start, *difference.cell.values())
        for report in reports
        for difference in report.found
    }
    assert found == corrupted
    assert [report.unrepaired for report in reports] == [()] * SLICES
    assert cells(analytics).keys() == right.keys()
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert {row[:6] for row in restated(analytics)} == corrupted
    assert {row[6] for row in restated(analytics)} == {"drift"}
    assert unverified(analytics) == 0
    assert [report.found for report in cycle(databases, settings)] == [()] * SLICES


def test_what_the_facts_do_not_know_is_read_again(
    tenants: list[Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """A job deleted for good leaves cells and facts alike; its organization is compared as a whole."""
    source.execute(
        "DELETE FROM orchestration.jobs WHERE id ="
        " (SELECT min(id::text)::uuid FROM orchestration.jobs WHERE organization_id = %s)",
        [tenants[0].organization],
    )
    neighbours = row_versions(analytics, tenants[1].organization)

    reports = cycle(databases, settings)

    assert {difference.organization_id for report in reports for difference in report.found} == {
        tenants[0].organization
    }
    assert [report.unrepaired for report in reports] == [()] * SLICES
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert row_versions(analytics, tenants[1].organization) == neighbours


def test_a_change_on_its_way_is_no_alarm(
    tenants: list[Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """What the next refresh will publish anyway is not taken for drift."""
    plant_job(source, tenants[0])
    before = row_versions(analytics)

    reports = cycle(databases, settings)

    assert [report.found for report in reports] == [()] * SLICES
    assert row_versions(analytics) == before


def test_drift_in_a_period_that_goes_on_is_on_record_too(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Figures of the present hour, day, week and month that were not ours are repaired and kept."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    for whose in (tenant, neighbour):
        now = source.execute("SELECT clock_timestamp()").fetchone()[0]
        plant_job(source, whose, completed_at=now)
    refresh(databases, settings)
    analytics.execute(
        "UPDATE analytics.aggregate_metrics SET max_duration_ms = 777e6 WHERE organization_id = %s",
        [tenant.organization],
    )

    audit(databases, settings, slices=1)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert {(row[0], row[1], row[6]) for row in restated(analytics)} == {
        (tenant.organization, period, "drift") for period in ("hour", "day", "week", "month")
    }


def test_deletes_that_are_withheld_are_left_and_hold_nobody_up(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The audit tells what it could not repair, and everybody else has a turn before it comes again."""
    culprit, *others = (plant_tenant(source, name) for name in ("Culprit", "Neighbour", "Third"))
    jobs = plant_jobs(source, culprit, [{}] * 1_000)
    for other in others:
        plant_job(source, other)
    refresh(databases, settings)
    source.execute("DELETE FROM orchestration.jobs WHERE id = ANY(%s)", [list(jobs)])
    before = row_versions(analytics, culprit.organization)

    reports = cycle(databases, settings)

    assert [key for report in reports for key in report.organization_ids] == [
        tenant.organization for tenant in (culprit, *others)
    ]
    assert [bool(report.unrepaired) for report in reports] == [True, False, False]
    assert reports[0].facts_differed
    assert row_versions(analytics, culprit.organization) == before
    assert unverified(analytics) == 1


def test_whose_cells_are_about_to_be_computed_anew_is_not_called_verified(
    tenants: list[Tenant], databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """Most of its cells were not compared."""
    source.execute(
        "UPDATE orchestration.organizations SET time_zone = 'Asia/Tokyo' WHERE id = %s",
        [tenants[0].organization],
    )

    reports = cycle(databases, settings)

    assert [report.found for report in reports] == [()] * SLICES
    verified = {key for report in reports for key in report.verified}
    assert verified == {tenant.organization for tenant in tenants[1:]}


def test_facts_that_are_gone_delete_no_cell(
    tenants: list[Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """Drift that is found while the facts are lost is repaired when they were read anew, not before."""
    analytics.execute(
        "UPDATE analytics.aggregate_metrics SET max_duration_ms = 777e6 WHERE organization_id = %s",
        [tenants[0].organization],
    )
    shutil.rmtree(settings.facts_location)

    cycle(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    emptied = analytics.execute("SELECT count(*) FROM analytics.restatements WHERE new IS NULL").fetchone()
    assert emptied == (0,)


def cycle(databases: Databases, settings: Settings) -> list[AuditReport]:
    """So many audits that everybody has had a turn."""
    return [audit(databases, settings, slices=SLICES) for _ in range(SLICES)]


def corrupt(analytics: psycopg.Connection, chance: random.Random) -> set[tuple[Any, ...]]:
    """Change a hundred stored rows by hand; return their keys."""
    keys = chance.sample(sorted(cells(analytics), key=str), CORRUPTED - 1)
    condition = " AND ".join(f"{name} = %s" for name in KEY.split(", "))
    for number, key in enumerate(keys):
        damage = (
            "DELETE FROM analytics.aggregate_metrics",
            "UPDATE analytics.aggregate_metrics SET total_executions = total_executions + 1,"
            " failed_executions = failed_executions + 1",
            "UPDATE analytics.aggregate_metrics SET success_rate_pct = success_rate_pct / 2 + 1",
            "UPDATE analytics.aggregate_metrics SET total_duration_ms = total_duration_ms + 1",
        )[number % 4]
        assert analytics.execute(f"{damage} WHERE {condition}", key).rowcount == 1
    left_over = (*keys[1][:2], NOON - 900 * DAY, *keys[1][3:])
    columns = [
        row[0]
        for row in analytics.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = 'analytics' AND table_name = 'aggregate_metrics'"
        )
    ]
    values = ", ".join("%s::timestamptz" if name == "period_start" else name for name in columns)
    analytics.execute(
        f"INSERT INTO analytics.aggregate_metrics ({', '.join(columns)})"
        f" SELECT {values} FROM analytics.aggregate_metrics WHERE {condition}",
        [left_over[2], *keys[1]],
    )
    return {*keys, left_over}


def restated(analytics: psycopg.Connection) -> list[tuple[Any, ...]]:
    """The cells on record, and why."""
    return [
        (*key, each.reason) for key, found in restatement_oracle.restated(analytics).items() for each in found
    ]


def unverified(analytics: psycopg.Connection) -> int:
    """How many organizations were never found equal to the source."""
    row = analytics.execute(
        "SELECT count(*) FROM analytics.watermarks WHERE subject = 'jobs' AND verified_at IS NULL"
    ).fetchone()
    return row[0]

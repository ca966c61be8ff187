"""The audit goes round: it finds figures that somebody else wrote, repairs them, and keeps the old ones."""

import random
import shutil
from typing import Any

import pytest
from psycopg import Connection

from pipelines.postgres.tables import METADATA
from pipelines.runs import audit as audits
from pipelines.runs.audit import AuditReport
from tests.support import restatement_oracle
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, KEY, NOON, Tenant, cells

TENANTS, SLICES, CORRUPTED = 6, 3, 100


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two organizations have their turn at a time, although they have few cells."""
    monkeypatch.setattr(audits, "_FEWEST_CELLS", 1)


@pytest.fixture
def tenants(pipeline: Pipeline) -> list[Tenant]:
    """Organizations with cells in every period, refreshed."""
    found = [pipeline.plant_tenant(f"Acme {number}") for number in range(TENANTS)]
    for tenant in found:
        pipeline.plant_jobs(
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
    pipeline.refresh()
    return found


@pytest.mark.usefixtures("tenants")
def test_a_cycle_over_right_cells_finds_nothing(pipeline: Pipeline) -> None:
    """No false alarm, not a row written, and every organization is verified once."""
    before = pipeline.row_versions()

    reports = cycle(pipeline)

    assert [report.found for report in reports] == [()] * SLICES
    known = pipeline.select("SELECT organization_id FROM analytics.watermarks WHERE subject = 'jobs'")
    assert sorted(key for report in reports for key in report.verified) == sorted(key for (key,) in known)
    assert pipeline.row_versions() == before
    assert unverified(pipeline.analytics) == 0
    assert restated(pipeline.analytics) == []


@pytest.mark.usefixtures("tenants")
def test_a_cycle_finds_and_repairs_a_hundred_corrupted_cells(pipeline: Pipeline) -> None:
    """Counts, figures, a cell that is gone, one too many: all are found, repaired and on record, no other."""
    right = pipeline.cells()
    corrupted = corrupt(pipeline.analytics, random.Random(12))

    reports = cycle(pipeline)

    found = {
        (difference.organization_id, difference.period, difference.period_start, *difference.cell.values())
        for report in reports
        for difference in report.found
    }
    assert found == corrupted
    assert [report.unrepaired for report in reports] == [()] * SLICES
    assert pipeline.cells().keys() == right.keys()
    assert pipeline.differences() == []
    assert {row[:6] for row in restated(pipeline.analytics)} == corrupted
    assert {row[6] for row in restated(pipeline.analytics)} == {"drift"}
    assert unverified(pipeline.analytics) == 0
    assert [report.found for report in cycle(pipeline)] == [()] * SLICES


def test_what_the_facts_do_not_know_is_read_again(tenants: list[Tenant], pipeline: Pipeline) -> None:
    """A job deleted for good leaves cells and facts alike; its organization is compared as a whole."""
    pipeline.source.execute(
        "DELETE FROM orchestration.jobs WHERE id ="
        " (SELECT min(id::text)::uuid FROM orchestration.jobs WHERE organization_id = %s)",
        [tenants[0].organization],
    )
    neighbours = pipeline.row_versions(tenants[1].organization)

    reports = cycle(pipeline)

    found = {difference.organization_id for report in reports for difference in report.found}
    assert found == {tenants[0].organization}
    assert [report.unrepaired for report in reports] == [()] * SLICES
    assert pipeline.differences() == []
    assert pipeline.row_versions(tenants[1].organization) == neighbours


def test_a_change_on_its_way_is_no_alarm(tenants: list[Tenant], pipeline: Pipeline) -> None:
    """What the next refresh will publish anyway is not taken for drift."""
    pipeline.plant_job(tenants[0])
    before = pipeline.row_versions()

    reports = cycle(pipeline)

    assert [report.found for report in reports] == [()] * SLICES
    assert pipeline.row_versions() == before


def test_drift_in_a_period_that_goes_on_is_on_record_too(pipeline: Pipeline) -> None:
    """Figures of the present hour, day, week and month that were not ours are repaired and kept."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for whose in (tenant, neighbour):
        now = pipeline.source.execute("SELECT clock_timestamp()").fetchone()[0]
        pipeline.plant_job(whose, completed_at=now)
    pipeline.refresh()
    pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET max_duration_ms = 777e6 WHERE organization_id = %s",
        [tenant.organization],
    )

    pipeline.audit(slices=1)

    assert pipeline.differences() == []
    assert {(row[0], row[1], row[6]) for row in restated(pipeline.analytics)} == {
        (tenant.organization, period, "drift") for period in ("hour", "day", "week", "month")
    }


def test_deletes_that_are_guarded_are_left_and_hold_nobody_up(pipeline: Pipeline) -> None:
    """The audit tells what it could not repair, and everybody else has a turn before it comes again."""
    culprit, *others = (pipeline.plant_tenant(name) for name in ("Culprit", "Neighbour", "Third"))
    jobs = pipeline.plant_jobs(culprit, [{}] * 1_000)
    for other in others:
        pipeline.plant_job(other)
    pipeline.refresh()
    pipeline.delete_jobs(*jobs)
    before = pipeline.row_versions(culprit.organization)

    reports = cycle(pipeline)

    had_a_turn = [key for report in reports for key in report.organization_ids]
    assert had_a_turn == [tenant.organization for tenant in (culprit, *others)]
    assert [bool(report.unrepaired) for report in reports] == [True, False, False]
    assert reports[0].facts_differed
    assert pipeline.row_versions(culprit.organization) == before
    assert unverified(pipeline.analytics) == 1


def test_whose_cells_are_about_to_be_computed_anew_is_not_called_verified(
    tenants: list[Tenant], pipeline: Pipeline
) -> None:
    """Most of its cells were not compared."""
    pipeline.live_in(tenants[0], "Asia/Tokyo")

    reports = cycle(pipeline)

    assert [report.found for report in reports] == [()] * SLICES
    verified = {key for report in reports for key in report.verified}
    assert verified == {tenant.organization for tenant in tenants[1:]}


def test_facts_that_are_gone_delete_no_cell(tenants: list[Tenant], pipeline: Pipeline) -> None:
    """Drift that is found while the facts are lost is repaired when they were read anew, not before."""
    pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET max_duration_ms = 777e6 WHERE organization_id = %s",
        [tenants[0].organization],
    )
    shutil.rmtree(pipeline.settings.facts_location)

    cycle(pipeline)

    assert pipeline.differences() == []
    assert pipeline.select("SELECT count(*) FROM analytics.restatements WHERE new IS NULL") == [(0,)]


def cycle(pipeline: Pipeline) -> list[AuditReport]:
    """As many audits as it takes to look at every organization."""
    return [pipeline.audit(slices=SLICES) for _ in range(SLICES)]


def corrupt(analytics: Connection, chance: random.Random) -> set[tuple[Any, ...]]:
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
    columns = METADATA["analytics"].tables["analytics.aggregate_metrics"].columns.keys()
    values = ", ".join("%s::timestamptz" if name == "period_start" else name for name in columns)
    analytics.execute(
        f"INSERT INTO analytics.aggregate_metrics ({', '.join(columns)})"
        f" SELECT {values} FROM analytics.aggregate_metrics WHERE {condition}",
        [left_over[2], *keys[1]],
    )
    return {*keys, left_over}


def restated(analytics: Connection) -> list[tuple[Any, ...]]:
    """The cells on record, and why."""
    found = restatement_oracle.restated(analytics).items()
    return [(*key, each.reason) for key, changes in found for each in changes]


def unverified(analytics: Connection) -> int:
    """How many organizations were never found equal to the source."""
    condition = "subject = 'jobs' AND verified_at IS NULL"
    return analytics.execute(f"SELECT count(*) FROM analytics.watermarks WHERE {condition}").fetchone()[0]

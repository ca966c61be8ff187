"""The facts can be lost, moved or set back: the next refresh makes everything true again."""

import shutil
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from deltalake import DeltaTable

from pipelines.errors import PublishConflict
from pipelines.extract.request import Request
from pipelines.facts.fact_table import open_facts
from pipelines.postgres.connections import Databases
from pipelines.runs.audit import audit
from pipelines.runs.maintenance import tidy_facts
from pipelines.runs.refresh import FailedOrganization, extract_changes, publish_changes, reconcile, refresh
from pipelines.runs.status import status
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from pipelines.state.watermarks import forget_published
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from tests.support.older_facts import take_away_column
from tests.support.oracle import ALL, cells_by_sql, differences
from tests.support.planting import (
    DAY,
    NOON,
    Tenant,
    cells,
    change_job,
    listed,
    plant_job,
    plant_jobs,
    plant_lines,
    plant_tenant,
    row_versions,
)
from tests.support.sampling import EVERYTHING


def test_a_deleted_facts_folder_is_rebuilt(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The facts come back from the source; cells that were right are not written again."""
    plant_two_tenants(source)
    refresh(databases, settings)
    before = row_versions(analytics)
    shutil.rmtree(settings.facts_location)

    report = refresh(databases, settings)

    assert report.facts_inserted == 12
    assert (report.cells_written, report.cells_deleted) == (0, 0)
    assert row_versions(analytics) == before
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_what_happened_while_the_facts_were_gone_is_found(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A rebuild also sees the rows that were deleted from the source: their cells go."""
    tenant, _ = plant_two_tenants(source)
    lost = plant_job(source, tenant, completed_at=NOON + 60 * DAY)
    refresh(databases, settings)
    shutil.rmtree(settings.facts_location)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [lost])
    plant_job(source, tenant, completed_at=NOON + 90 * DAY)

    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_the_facts_can_move_to_another_folder(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tmp_path: Path,
) -> None:
    """An empty folder counts its versions anew, and they are not mistaken for those of the old one."""
    tenant, _ = plant_two_tenants(source)
    refresh(databases, settings)
    moved = settings.model_copy(update={"facts_url": str(tmp_path / "elsewhere")})
    for day in range(3):
        plant_job(source, tenant, completed_at=NOON + day * DAY)
        refresh(databases, moved)

    # The old folder knows nothing of these three; going back to it must not forget them.
    plant_job(source, tenant, completed_at=NOON + 9 * DAY)
    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_one_organization_can_move_first(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tmp_path: Path,
) -> None:
    """A restricted run on another folder rebuilds its organization alone; the others follow later."""
    tenant, neighbour = plant_two_tenants(source)
    refresh(databases, settings)
    neighbours = row_versions(analytics, neighbour.organization)
    moved = settings.model_copy(update={"facts_url": str(tmp_path / "elsewhere")})
    plant_job(source, tenant)

    reconcile(databases, moved, since=NOON - DAY, until=NOON + DAY, organization_ids=[tenant.organization])

    assert row_versions(analytics, neighbour.organization) == neighbours
    assert differences(cells(analytics), cells_by_sql(source)) == []
    plant_job(source, neighbour)
    refresh(databases, moved)
    assert differences(cells(analytics), cells_by_sql(source)) == []


@pytest.mark.parametrize(
    "name", ["it's #1 a+b é q?x 50% off", *(["with space", "50% off"] if EVERYTHING else [])]
)
def test_the_folder_of_the_facts_may_have_any_name(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tmp_path: Path,
    name: str,
) -> None:
    """Reading, merging, reconciling and tidying work there, and verify agrees."""
    tenant, _ = plant_two_tenants(source)
    there = settings.model_copy(update={"home": tmp_path / name})
    refresh(databases, there)
    job = plant_job(source, tenant)
    refresh(databases, there)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [job])

    reconcile(databases, there, since=NOON - DAY, until=NOON + DAY)
    tidy_facts(databases, there)

    assert verify(databases, there).differences == ()
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_facts_restored_from_an_older_copy_catch_up(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tmp_path: Path,
) -> None:
    """A copy that lacks what was read since is the same table at an earlier version; nothing is lost."""
    tenant, _ = plant_two_tenants(source)
    refresh(databases, settings)
    shutil.copytree(settings.facts_location, tmp_path / "copy")
    plant_job(source, tenant)
    refresh(databases, settings)
    shutil.rmtree(settings.facts_location)
    shutil.copytree(tmp_path / "copy", settings.facts_location)
    plant_job(source, tenant)

    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_facts_restored_and_tidied_before_anybody_looked_catch_up(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tmp_path: Path,
) -> None:
    """Tidying makes a new version, which must not pass for the one that was published."""
    tenant, _ = plant_two_tenants(source)
    refresh(databases, settings)
    change_job(source, plant_job(source, tenant), started_at=NOON - 2 * DAY)
    refresh(databases, settings)
    shutil.copytree(settings.facts_location, tmp_path / "copy")
    plant_job(source, tenant)
    refresh(databases, settings)
    shutil.rmtree(settings.facts_location)
    shutil.copytree(tmp_path / "copy", settings.facts_location)

    tidy_facts(databases, settings)
    plant_job(source, tenant)
    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_facts_lost_between_extracting_and_publishing_are_a_conflict(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Nothing is published from a table that is not the one the rows went into."""
    plant_two_tenants(source)
    refresh(databases, settings)
    before = row_versions(analytics)
    extraction = extract_changes(databases, settings, Request())
    shutil.rmtree(settings.facts_location)

    with pytest.raises(PublishConflict):
        publish_changes(databases, settings, extraction)

    assert row_versions(analytics) == before


def test_another_source_behind_the_same_url_is_reconciled_whole(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A source restored from a backup has another history: what it lacks leaves facts and aggregates."""
    tenant, _ = plant_two_tenants(source)
    lost = plant_job(source, tenant, completed_at=NOON + 3 * DAY)
    refresh(databases, settings)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [lost])
    analytics.execute(
        'UPDATE analytics.watermarks SET checkpoint = checkpoint || \'{"identity": "before the restore"}\''
    )

    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert open_facts(settings).rows == 12


def test_aggregates_restored_from_an_older_copy_catch_up(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """When the analytics schema is lost, cells and cursors go together and come back together."""
    tenant, _ = plant_two_tenants(source)
    job = plant_job(source, tenant)
    refresh(databases, settings)
    change_job(source, job, status="FAILED")
    analytics.execute("TRUNCATE analytics.aggregate_metrics, analytics.watermarks")

    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_facts_that_cannot_be_read_are_set_aside_and_rebuilt(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Broken facts cost a full read and nothing else: every cell stays the very row it was."""
    plant_two_tenants(source)
    refresh(databases, settings)
    before = row_versions(analytics)
    for entry in (Path(settings.facts_location) / "_delta_log").glob("*.json"):
        entry.write_text("this is not a commit")

    report = refresh(databases, settings)

    assert (report.facts_inserted, report.cells_written, report.cells_deleted) == (report.rows_read, 0, 0)
    assert row_versions(analytics) == before
    assert list(Path(settings.facts_location).parent.glob("job_facts.unusable-*"))


@pytest.mark.parametrize(
    ("wrong", "repaired"),
    [
        ({"status": "'FAILED'"}, False),
        ({"status": "'FAILED'", "row_hash": "row_hash + 1"}, True),
    ],
    ids=["a value", "a value and the hash"],
)
def test_the_audit_finds_facts_that_say_something_else(
    wrong: dict[str, str],
    repaired: bool,
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """A wrong hash is repaired; a wrong value beside a right hash stays until the facts are deleted."""
    tenant, neighbour = plant_two_tenants(source)
    refresh(databases, settings)
    neighbours = row_versions(analytics, neighbour.organization)
    DeltaTable(settings.facts_location).update(
        wrong, predicate=f"organization_id = X'{tenant.organization.hex}'"
    )
    refresh(databases, settings)

    audited = audit(databases, settings)

    assert {each.organization_id for each in audited.found} == {tenant.organization}
    assert (audited.unrepaired == ()) == repaired
    assert (differences(cells(analytics), cells_by_sql(source)) == []) == repaired
    if not repaired:
        shutil.rmtree(settings.facts_location)
        refresh(databases, settings)
        assert differences(cells(analytics), cells_by_sql(source)) == []
    assert row_versions(analytics, neighbour.organization) == neighbours


def test_a_fact_with_the_id_of_another_job_is_found_when_the_job_changes(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Until then no figure shows it; the job that changed would count twice, and does not for long."""
    tenant, _ = plant_two_tenants(source)
    job = plant_job(source, tenant)
    refresh(databases, settings)
    DeltaTable(settings.facts_location).update(
        {"job_id": f"X'{UUID(int=77).hex}'"}, predicate=f"job_id = X'{job.hex}'"
    )
    change_job(source, job, status="FAILED")

    refresh(databases, settings)
    audit(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert open_facts(settings).rows == 13


def test_a_new_column_is_added_in_place(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Rows that the source still has are read again, once; the others stay, and no cell changes."""
    sealed = settings.model_copy(update={"sealed_before": (NOON + 2 * DAY).date()})
    tenant, neighbour = plant_two_tenants(source)
    for each in (tenant, neighbour):
        job = plant_job(source, each, completed_at=NOON + 9 * DAY)
        plant_lines(
            source, each, job, [{"step_name": "send", "timestamp": NOON + day * DAY} for day in (0, 5)]
        )
    refresh(databases, sealed)
    source.execute("DELETE FROM orchestration.execution_logs WHERE timestamp = %s", [NOON])
    source.execute("DELETE FROM orchestration.jobs WHERE completed_at = %s", [NOON])
    before, steps_before = row_versions(analytics), step_rows(analytics)
    take_away_column(sealed, analytics, JOBS, "created_at")
    take_away_column(sealed, analytics, STEPS, "job_id")
    unread = verify(databases, sealed)

    report, again = refresh(databases, sealed), refresh(databases, sealed)

    assert (unread.differences, unread.steps.differences) == ((), ())
    jobs, steps = (open_facts(sealed, kind).scan().collect() for kind in (JOBS.fact, STEPS.fact))
    assert (jobs.height, jobs["created_at"].null_count()) == (14, 2)
    assert (steps.height, steps["job_id"].null_count()) == (4, 2)
    assert (report.rows_read, report.facts_updated, report.facts_deleted) == (12, 12, 0)
    assert (report.steps.rows_read, report.steps.facts_updated, report.steps.facts_deleted) == (2, 2, 0)
    assert (again.rows_read, again.steps.rows_read) == (0, 0)
    assert (row_versions(analytics), step_rows(analytics)) == (before, steps_before)
    assert status(databases, sealed).set_aside == ()
    change_job(source, job, status="FAILED")
    assert refresh(databases, sealed).facts_updated == 1
    assert verify(databases, sealed).differences == ()


def test_the_last_job_of_all_can_leave(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Facts without a row left are not mistaken for facts that were never filled."""
    tenant = plant_tenant(source)
    job = plant_job(source, tenant)
    refresh(databases, settings)
    change_job(source, job, deleted_at=NOON)
    refresh(databases, settings)
    emptied = cells(analytics)
    plant_job(source, tenant, completed_at=NOON + DAY)

    refresh(databases, settings)

    assert emptied == {}
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert total(analytics, tenant.organization) == 1


def test_who_lags_behind_a_lost_feed_is_taken_whole_alone(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The others follow the changes since their own publication, which can be read."""
    tenant, neighbour = plant_two_tenants(source)
    jobs = [plant_job(source, whose) for whose in (tenant, neighbour)]
    refresh(databases, settings)
    for job in jobs:
        change_job(source, job, status="FAILED")
    extract_changes(databases, settings, Request())
    refresh(databases, settings, organization_ids=[neighbour.organization])
    for file in (Path(settings.facts_location) / "_change_data").rglob("*.parquet"):
        file.unlink()
    plant_job(source, neighbour)

    report = refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    whole = len(cells(analytics, tenant.organization))
    assert report.cells_computed == whole + 27


def test_what_was_listed_and_is_gone_leaves_the_list_when_the_facts_are_made_anew(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Nothing but the list still knows a job that was deleted while the facts were lost."""
    tenant, neighbour = plant_two_tenants(source)
    gone, kept, theirs = (
        plant_job(source, each, completed_at=NOON, started_at=NOON + DAY)
        for each in (tenant, tenant, neighbour)
    )
    refresh(databases, settings)
    assert {job for job, *_ in listed(analytics)} == {gone, kept, theirs}
    shutil.rmtree(settings.facts_location)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])

    refresh(databases, settings)

    assert {job for job, *_ in listed(analytics)} == {kept, theirs}
    assert differences(cells(analytics), cells_by_sql(source)) == []


@pytest.mark.parametrize("zone", ["UTC", "Africa/Johannesburg"])
def test_sealed_history_is_not_lost_with_the_facts(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    zone: str,
) -> None:
    """What only the facts still had stays published until they are put back, or somebody does without.

    A day of Johannesburg begins at the very moment before which all days are sealed.
    """
    tenant, neighbour = plant_two_tenants(source, zone)
    sealed = settings.model_copy(
        update={"sealed_before": (NOON + 4 * DAY).date(), "tolerated_failures_pct": 100}
    )
    refresh(databases, sealed)
    source.execute(
        "DELETE FROM orchestration.jobs WHERE organization_id = %s AND completed_at = %s",
        [tenant.organization, NOON],
    )
    before, facts = row_versions(analytics, tenant.organization), Path(sealed.facts_location)
    facts.rename(facts.with_name("kept"))
    plant_job(source, tenant, completed_at=NOON + 5 * DAY)
    plant_job(source, neighbour, completed_at=NOON + 5 * DAY)

    lost = [refresh(databases, sealed) for _ in range(2)]
    tidy_facts(databases, sealed)

    assert [report.failed for report in lost] == [
        (FailedOrganization(tenant.organization, "SealedHistoryLost"),)
    ] * 2
    assert row_versions(analytics, tenant.organization) == before
    assert total(analytics, neighbour.organization) == 7
    shutil.rmtree(facts)
    facts.with_name("kept").rename(facts)
    assert refresh(databases, sealed).failed == ()
    assert [total(analytics, each.organization) for each in (tenant, neighbour)] == [7, 7]
    shutil.rmtree(facts)
    done_without = reconcile(databases, sealed, since=NOON, until=NOON + DAY, accept_deletes=True)
    assert done_without.failed == ()
    assert total(analytics, tenant.organization) == 6


def test_a_source_that_lost_its_jobs_is_not_believed_when_the_facts_are_gone_too(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The brake holds although there are no facts to compare with: the published cells are."""
    tenant, neighbour = plant_two_tenants(source)
    many = [{"completed_at": NOON + DAY} for _ in range(1_000)]
    jobs = plant_jobs(source, tenant, many)
    refresh(databases, settings)
    before = row_versions(analytics, tenant.organization)
    shutil.rmtree(settings.facts_location)
    source.execute("DELETE FROM orchestration.jobs WHERE id = ANY(%s)", [list(jobs)])
    plant_job(source, neighbour)

    report = refresh(databases, settings.model_copy(update={"tolerated_failures_pct": 100}))

    assert report.failed == (FailedOrganization(tenant.organization, "DeletesNotAccepted"),)
    assert row_versions(analytics, tenant.organization) == before
    assert total(analytics, neighbour.organization) == 7
    reconcile(databases, settings, since=NOON, until=NOON + DAY, accept_deletes=True)
    assert differences(cells(analytics), cells_by_sql(source)) == []


@pytest.mark.parametrize(
    "gone", ["UPDATE analytics.watermarks SET checkpoint = NULL", "DELETE FROM analytics.watermarks"]
)
def test_checkpoints_or_watermarks_that_somebody_removed_come_back(
    gone: str,
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """Everything is read once more, the cells that are there stay, and what happened meanwhile is found."""
    tenant, neighbour = plant_two_tenants(source)
    refresh(databases, settings)
    neighbours = row_versions(analytics, neighbour.organization)
    analytics.execute(gone)
    plant_job(source, tenant)

    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert row_versions(analytics, neighbour.organization) == neighbours
    assert refresh(databases, settings).rows_read == 0


def plant_two_tenants(source: psycopg.Connection, zone: str = "UTC") -> tuple[Tenant, Tenant]:
    """Insert six jobs on six days for each of two tenants."""
    tenants = plant_tenant(source), plant_tenant(source, "Neighbour")
    source.execute("UPDATE orchestration.organizations SET time_zone = %s", [zone])
    for tenant in tenants:
        plant_jobs(source, tenant, [{"completed_at": NOON + day * DAY} for day in range(6)])
    return tenants


def step_rows(analytics: psycopg.Connection) -> set[tuple[str, ...]]:
    """Each stored cell of steps with the version of its row."""
    return set(analytics.execute("SELECT xmin::text, s::text FROM analytics.aggregate_step_metrics AS s"))


def total(analytics: psycopg.Connection, organization: UUID) -> int:
    """How many jobs the months count."""
    return sum(
        cell["total_executions"]
        for key, cell in cells(analytics, organization).items()
        if (key[1], *key[3:]) == ("month", ALL, ALL, "all")
    )


def test_an_organization_forgotten_is_published_from_the_facts(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """It lagged for longer than the feed is kept: all its cells are computed, and the source is not read."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, neighbour)
    refresh(databases, settings)
    change_job(source, job, status="FAILED")
    extract_changes(databases, settings, Request())
    neighbours = row_versions(analytics, neighbour.organization)
    forget_published(analytics, JOBS, [tenant.organization])

    report = refresh(databases, settings)

    assert (report.facts_inserted, report.facts_updated, report.cells_written) == (0, 0, 27)
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert row_versions(analytics, neighbour.organization) == neighbours
    assert refresh(databases, settings).cells_computed == 0

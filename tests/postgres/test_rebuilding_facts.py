"""The facts can be lost, moved or set back: the next refresh makes everything true again."""

import shutil
from pathlib import Path
from uuid import UUID

import pytest
from deltalake import DeltaTable
from psycopg import Connection

from pipelines.errors import PublishConflict
from pipelines.extract.request import Request
from pipelines.facts.fact_table import open_facts
from pipelines.runs.refresh import FailedOrganization, publish_changes
from pipelines.state.watermarks import forget_published
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from tests.support.fact_changes import take_away_column
from tests.support.pipeline import Pair, Pipeline
from tests.support.planting import DAY, NOON, plant_jobs, plant_lines, plant_tenant
from tests.support.sampling import EVERYTHING


@pytest.mark.parametrize("lost", ["deleted", "unreadable"])
def test_lost_facts_are_rebuilt(pipeline: Pipeline, lost: str) -> None:
    """The facts come back from the source, right cells are not written again; broken facts are set aside."""
    plant_two_tenants(pipeline.source)
    pipeline.refresh()
    before, facts = pipeline.row_versions(), Path(pipeline.settings.facts_location)
    if lost == "deleted":
        shutil.rmtree(facts)
    else:
        for entry in (facts / "_delta_log").glob("*.json"):
            entry.write_text("this is not a commit")

    report = pipeline.refresh()

    assert (report.rows_read, report.facts_inserted) == (12, 12)
    assert (report.cells_written, report.cells_deleted) == (0, 0)
    assert pipeline.row_versions() == before
    assert pipeline.differences() == []
    assert len(list(facts.parent.glob("job_facts.unusable-*"))) == (lost == "unreadable")


def test_what_happened_while_the_facts_were_gone_is_found(pipeline: Pipeline) -> None:
    """A rebuild also sees the rows that were deleted from the source: their cells go."""
    tenant, _ = plant_two_tenants(pipeline.source)
    lost = pipeline.plant_job(tenant, completed_at=NOON + 60 * DAY)
    pipeline.refresh()
    shutil.rmtree(pipeline.settings.facts_location)
    pipeline.delete_jobs(lost)
    pipeline.plant_job(tenant, completed_at=NOON + 90 * DAY)

    pipeline.refresh()

    assert pipeline.differences() == []


def test_the_facts_can_move_to_another_folder(pipeline: Pipeline, tmp_path: Path) -> None:
    """An empty folder counts its versions anew, and they are not mistaken for those of the old one."""
    tenant, _ = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    moved = pipeline.having(facts_url=str(tmp_path / "elsewhere"))
    for day in range(3):
        pipeline.plant_job(tenant, completed_at=NOON + day * DAY)
        moved.refresh()

    # The old folder knows nothing of these three; going back to it must not forget them.
    pipeline.plant_job(tenant, completed_at=NOON + 9 * DAY)
    pipeline.refresh()

    assert pipeline.differences() == []


def test_one_organization_can_move_first(pipeline: Pipeline, tmp_path: Path) -> None:
    """A restricted run on another folder rebuilds its organization alone; the others follow later."""
    tenant, neighbour = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    neighbours = pipeline.row_versions(neighbour.organization)
    moved = pipeline.having(facts_url=str(tmp_path / "elsewhere"))
    pipeline.plant_job(tenant)

    moved.reconcile(since=NOON - DAY, until=NOON + DAY, organization_ids=[tenant.organization])

    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert pipeline.differences() == []
    pipeline.plant_job(neighbour)
    moved.refresh()
    assert pipeline.differences() == []


@pytest.mark.parametrize(
    "name", ["it's #1 a+b é q?x 50% off", *(["with space", "50% off"] if EVERYTHING else [])]
)
def test_the_folder_of_the_facts_may_have_any_name(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    """Reading, merging, reconciling and tidying work there, and verify agrees."""
    tenant, _ = plant_two_tenants(pipeline.source)
    there = pipeline.having(home=tmp_path / name)
    there.refresh()
    job = pipeline.plant_job(tenant)
    there.refresh()
    pipeline.delete_jobs(job)

    there.reconcile(since=NOON - DAY, until=NOON + DAY)
    there.tidy_facts()

    assert there.verify().differences == ()
    assert pipeline.differences() == []


@pytest.mark.parametrize("tidied", [False, True])
def test_facts_restored_from_an_older_copy_catch_up(pipeline: Pipeline, tmp_path: Path, tidied: bool) -> None:
    """A copy that lacks what was read since is the same table at an earlier version; nothing is lost.

    Tidying before anybody looked makes a new version, which must not pass for the one that was published.
    """
    tenant, _ = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    pipeline.change_job(pipeline.plant_job(tenant), started_at=NOON - 2 * DAY)
    pipeline.refresh()
    shutil.copytree(pipeline.settings.facts_location, tmp_path / "copy")
    pipeline.plant_job(tenant)
    pipeline.refresh()
    shutil.rmtree(pipeline.settings.facts_location)
    shutil.copytree(tmp_path / "copy", pipeline.settings.facts_location)
    pipeline.plant_job(tenant)

    if tidied:
        pipeline.tidy_facts()
    pipeline.refresh()

    assert pipeline.differences() == []


def test_facts_lost_between_extracting_and_publishing_are_a_conflict(pipeline: Pipeline) -> None:
    """Nothing is published from a table that is not the one the rows went into."""
    plant_two_tenants(pipeline.source)
    pipeline.refresh()
    before = pipeline.row_versions()
    extraction = pipeline.extract_changes(Request())
    shutil.rmtree(pipeline.settings.facts_location)

    with pytest.raises(PublishConflict):
        publish_changes(pipeline.run, extraction)

    assert pipeline.row_versions() == before


def test_another_source_behind_the_same_url_is_reconciled_whole(pipeline: Pipeline) -> None:
    """A source restored from a backup has another history: what it lacks leaves facts and aggregates."""
    tenant, _ = plant_two_tenants(pipeline.source)
    lost = pipeline.plant_job(tenant, completed_at=NOON + 3 * DAY)
    pipeline.refresh()
    pipeline.delete_jobs(lost)
    pipeline.analytics.execute(
        'UPDATE analytics.watermarks SET checkpoint = checkpoint || \'{"identity": "before the restore"}\''
    )

    pipeline.refresh()

    assert pipeline.differences() == []
    assert open_facts(pipeline.settings).rows == 12


def test_aggregates_restored_from_an_older_copy_catch_up(pipeline: Pipeline) -> None:
    """When the analytics schema is lost, cells and cursors go together and come back together."""
    tenant, _ = plant_two_tenants(pipeline.source)
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    pipeline.change_job(job, status="FAILED")
    pipeline.analytics.execute("TRUNCATE analytics.aggregate_metrics, analytics.watermarks")

    pipeline.refresh()

    assert pipeline.differences() == []


@pytest.mark.parametrize(
    ("wrong", "repaired"),
    [
        ({"status": "'FAILED'"}, False),
        ({"status": "'FAILED'", "row_hash": "row_hash + 1"}, True),
    ],
    ids=["a value", "a value and the hash"],
)
def test_the_audit_finds_facts_that_say_something_else(
    wrong: dict[str, str], repaired: bool, pipeline: Pipeline
) -> None:
    """A wrong hash is repaired; a wrong value beside a right hash stays until the facts are deleted."""
    tenant, neighbour = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    neighbours = pipeline.row_versions(neighbour.organization)
    DeltaTable(pipeline.settings.facts_location).update(
        wrong, predicate=f"organization_id = X'{tenant.organization.hex}'"
    )
    pipeline.refresh()

    audited = pipeline.audit()

    assert {each.organization_id for each in audited.found} == {tenant.organization}
    assert (audited.unrepaired == ()) == repaired
    assert (pipeline.differences() == []) == repaired
    if not repaired:
        shutil.rmtree(pipeline.settings.facts_location)
        pipeline.refresh()
        assert pipeline.differences() == []
    assert pipeline.row_versions(neighbour.organization) == neighbours


def test_a_fact_with_the_id_of_another_job_is_found_when_the_job_changes(pipeline: Pipeline) -> None:
    """Until then no figure shows it; the job that changed would count twice, and does not for long."""
    tenant, _ = plant_two_tenants(pipeline.source)
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    DeltaTable(pipeline.settings.facts_location).update(
        {"job_id": f"X'{UUID(int=77).hex}'"}, predicate=f"job_id = X'{job.hex}'"
    )
    pipeline.change_job(job, status="FAILED")

    pipeline.refresh()
    pipeline.audit()

    assert pipeline.differences() == []
    assert open_facts(pipeline.settings).rows == 13


def test_a_new_column_is_added_in_place(pipeline: Pipeline) -> None:
    """Rows that the source still has are read again, once; the others stay, and no cell changes."""
    sealed = pipeline.having(sealed_before=(NOON + 2 * DAY).date())
    tenant, neighbour = plant_two_tenants(pipeline.source)
    for each in (tenant, neighbour):
        job = pipeline.plant_job(each, completed_at=NOON + 9 * DAY)
        plant_lines(
            pipeline.source,
            each,
            job,
            [{"step_name": "send", "timestamp": NOON + day * DAY} for day in (0, 5)],
        )
    sealed.refresh()
    pipeline.source.execute("DELETE FROM orchestration.execution_logs WHERE timestamp = %s", [NOON])
    pipeline.source.execute("DELETE FROM orchestration.jobs WHERE completed_at = %s", [NOON])
    before, steps_before = pipeline.row_versions(), step_rows(pipeline.analytics)
    take_away_column(sealed.settings, pipeline.analytics, JOBS, "created_at")
    take_away_column(sealed.settings, pipeline.analytics, STEPS, "job_id")
    unread = sealed.verify()

    report, again = sealed.refresh(), sealed.refresh()

    assert (unread.differences, unread.steps.differences) == ((), ())
    jobs, steps = (open_facts(sealed.settings, kind).scan().collect() for kind in (JOBS.fact, STEPS.fact))
    assert (jobs.height, jobs["created_at"].null_count()) == (14, 2)
    assert (steps.height, steps["job_id"].null_count()) == (4, 2)
    assert (report.rows_read, report.facts_updated, report.facts_deleted) == (12, 12, 0)
    assert (report.steps.rows_read, report.steps.facts_updated, report.steps.facts_deleted) == (2, 2, 0)
    assert (again.rows_read, again.steps.rows_read) == (0, 0)
    assert (pipeline.row_versions(), step_rows(pipeline.analytics)) == (before, steps_before)
    assert sealed.status().set_aside == ()
    pipeline.change_job(job, status="FAILED")
    assert sealed.refresh().facts_updated == 1
    assert sealed.verify().differences == ()


def test_the_last_job_of_all_can_leave(pipeline: Pipeline) -> None:
    """Facts without a row left are not mistaken for facts that were never filled."""
    tenant = pipeline.plant_tenant()
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    pipeline.change_job(job, deleted_at=NOON)
    pipeline.refresh()
    emptied = pipeline.cells()
    pipeline.plant_job(tenant, completed_at=NOON + DAY)

    pipeline.refresh()

    assert emptied == {}
    assert pipeline.differences() == []
    assert pipeline.count(tenant) == 1


def test_who_lags_behind_a_lost_feed_is_taken_whole_alone(pipeline: Pipeline) -> None:
    """The others follow the changes since their own publication, which can be read."""
    tenant, neighbour = plant_two_tenants(pipeline.source)
    jobs = [pipeline.plant_job(whose) for whose in (tenant, neighbour)]
    pipeline.refresh()
    for job in jobs:
        pipeline.change_job(job, status="FAILED")
    pipeline.extract_changes(Request())
    pipeline.refresh(organization_ids=[neighbour.organization])
    for file in (Path(pipeline.settings.facts_location) / "_change_data").rglob("*.parquet"):
        file.unlink()
    pipeline.plant_job(neighbour)

    report = pipeline.refresh()

    assert pipeline.differences() == []
    whole = len(pipeline.cells(tenant.organization))
    assert report.cells_computed == whole + 27


@pytest.mark.parametrize("cut_off", [False, True], ids=["facts lost", "cut off"])
def test_what_was_listed_and_is_gone_leaves_the_list(pipeline: Pipeline, cut_off: bool) -> None:
    """Nothing but the list still knows a job that was deleted while the facts were lost.

    A run that was cut off found the job gone, and the next one finds nothing in the facts to compare.
    """
    tenant, neighbour = plant_two_tenants(pipeline.source)
    gone, kept, theirs = (
        pipeline.plant_job(each, completed_at=NOON, started_at=NOON + DAY)
        for each in (tenant, tenant, neighbour)
    )
    pipeline.refresh()
    assert {job for job, *_ in pipeline.listed()} == {gone, kept, theirs}
    pipeline.delete_jobs(gone)
    if cut_off:
        pipeline.extract_changes(Request())
    else:
        shutil.rmtree(pipeline.settings.facts_location)

    pipeline.refresh()

    assert {job for job, *_ in pipeline.listed()} == {kept, theirs}
    assert pipeline.differences() == []


@pytest.mark.parametrize("zone", ["UTC", "Africa/Johannesburg"])
def test_sealed_history_is_not_lost_with_the_facts(pipeline: Pipeline, zone: str) -> None:
    """What only the facts still had stays published until they are put back, or somebody does without.

    A day of Johannesburg begins at the very moment before which all days are sealed.
    """
    tenant, neighbour = plant_two_tenants(pipeline.source, zone)
    sealed = pipeline.having(sealed_before=(NOON + 4 * DAY).date(), tolerated_failures_pct=100)
    sealed.refresh()
    pipeline.source.execute(
        "DELETE FROM orchestration.jobs WHERE organization_id = %s AND completed_at = %s",
        [tenant.organization, NOON],
    )
    before, facts = pipeline.row_versions(tenant.organization), Path(sealed.settings.facts_location)
    facts.rename(facts.with_name("kept"))
    pipeline.plant_job(tenant, completed_at=NOON + 5 * DAY)
    pipeline.plant_job(neighbour, completed_at=NOON + 5 * DAY)

    lost = [sealed.refresh() for _ in range(2)]
    sealed.tidy_facts()

    assert [report.failed for report in lost] == [
        (FailedOrganization(tenant.organization, "SealedHistoryLost"),)
    ] * 2
    assert pipeline.row_versions(tenant.organization) == before
    assert pipeline.count(neighbour) == 7
    shutil.rmtree(facts)
    facts.with_name("kept").rename(facts)
    assert sealed.refresh().failed == ()
    assert [pipeline.count(each) for each in (tenant, neighbour)] == [7, 7]
    shutil.rmtree(facts)
    done_without = sealed.reconcile(since=NOON, until=NOON + DAY, accept_deletes=True)
    assert done_without.failed == ()
    assert pipeline.count(tenant) == 6


def test_a_source_that_lost_its_jobs_is_not_believed_when_the_facts_are_gone_too(pipeline: Pipeline) -> None:
    """The brake holds although there are no facts to compare with: the published cells are."""
    tenant, neighbour = plant_two_tenants(pipeline.source)
    many = [{"completed_at": NOON + DAY} for _ in range(1_000)]
    jobs = pipeline.plant_jobs(tenant, many)
    pipeline.refresh()
    before = pipeline.row_versions(tenant.organization)
    shutil.rmtree(pipeline.settings.facts_location)
    pipeline.delete_jobs(*jobs)
    pipeline.plant_job(neighbour)

    report = pipeline.having(tolerated_failures_pct=100).refresh()

    assert report.failed == (FailedOrganization(tenant.organization, "DeletesNotAccepted"),)
    assert pipeline.row_versions(tenant.organization) == before
    assert pipeline.count(neighbour) == 7
    pipeline.reconcile(since=NOON, until=NOON + DAY, accept_deletes=True)
    assert pipeline.differences() == []


@pytest.mark.parametrize(
    "gone", ["UPDATE analytics.watermarks SET checkpoint = NULL", "DELETE FROM analytics.watermarks"]
)
def test_checkpoints_or_watermarks_that_somebody_removed_come_back(gone: str, pipeline: Pipeline) -> None:
    """Everything is read once more, the cells that are there stay, and what happened meanwhile is found."""
    tenant, neighbour = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    neighbours = pipeline.row_versions(neighbour.organization)
    pipeline.analytics.execute(gone)
    pipeline.plant_job(tenant)

    pipeline.refresh()

    assert pipeline.differences() == []
    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert pipeline.refresh().rows_read == 0


def plant_two_tenants(source: Connection, zone: str = "UTC") -> Pair:
    """Insert six jobs on six days for each of two tenants."""
    tenants = plant_tenant(source), plant_tenant(source, "Neighbour")
    source.execute("UPDATE orchestration.organizations SET time_zone = %s", [zone])
    for tenant in tenants:
        plant_jobs(source, tenant, [{"completed_at": NOON + day * DAY} for day in range(6)])
    return tenants


def step_rows(analytics: Connection) -> set[tuple[str, ...]]:
    """Each stored cell of steps with the version of its row."""
    return set(analytics.execute("SELECT xmin::text, s::text FROM analytics.aggregate_step_metrics AS s"))


def test_an_organization_forgotten_is_published_from_the_facts(pipeline: Pipeline) -> None:
    """It lagged for longer than the feed is kept: all its cells are computed, and the source is not read."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    job = pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    pipeline.change_job(job, status="FAILED")
    pipeline.extract_changes(Request())
    neighbours = pipeline.row_versions(neighbour.organization)
    forget_published(pipeline.analytics, JOBS, [tenant.organization])

    report = pipeline.refresh()

    assert (report.facts_inserted, report.facts_updated, report.cells_written) == (0, 0, 27)
    assert pipeline.differences() == []
    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert pipeline.refresh().cells_computed == 0

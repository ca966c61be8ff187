"""The clock: when the tables are refreshed, and what each tick asks for."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from assets.definitions import defs
from assets.jobs import hourly_refresh
from tests.support.dagster_runs import BOTH, partitions
from tests.support.pipeline import Pipeline
from tests.support.planting import HOUR, NOON

CRONS = {
    "hourly_refresh": "7 * * * *",
    "sync_execution_metadata_schedule": "17 * * * *",
    "standing_checks_schedule": "37 * * * *",
    "nightly_checksums_schedule": "22 2 * * 1-6",
    "weekly_checksums_schedule": "22 2 * * 0",
    "tidy_job_facts_schedule": "37 3 * * 0",
    "retention_schedule": "52 3 * * *",
    "keep_log_partitions_schedule": "7 4 * * *",
    "check_execution_metadata_schedule": "12 4 * * *",
    "blob_sweeping_schedule": "22 4 * * 0",
}


def test_every_schedule_runs_by_utc_from_the_day_it_is_deployed() -> None:
    """An hour is refreshed soon after it ended, upkeep is at night; nobody has to switch anything on."""
    schedules = {each.name: each for each in defs.get_repository_def().schedule_defs}

    assert {name: each.cron_schedule for name, each in schedules.items()} == CRONS
    assert {each.execution_timezone for each in schedules.values()} == {"UTC"}
    assert {each.default_status for each in schedules.values()} == {dg.DefaultScheduleStatus.RUNNING}


@pytest.mark.parametrize(
    ("tick", "yesterday", "today"),
    [
        ("2024-02-01T00:07", "2024-01-31", "2024-02-01"),
        ("2024-01-31T23:07", "2024-01-30", "2024-01-31"),
        ("2024-03-01T00:07", "2024-02-29", "2024-03-01"),
        ("2025-03-01T00:07", "2025-02-28", "2025-03-01"),
        ("2025-01-01T12:07", "2024-12-31", "2025-01-01"),
    ],
)
def test_a_tick_names_yesterday_and_today(tick: str, yesterday: str, today: str) -> None:
    """Both days exist as partitions by then, at midnight, at the end of a month, in leap years."""
    moment = datetime.fromisoformat(tick).replace(tzinfo=UTC)

    request = ticked(moment)

    assert request.tags["dagster/asset_partition_range_start"] == yesterday
    assert request.tags["dagster/asset_partition_range_end"] == today
    assert request.tags["dagster/priority"] == "10"


def test_a_tick_names_no_day_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where partitions begin today, yesterday is none."""
    monkeypatch.setattr("assets.jobs.FIRST_DAY", date(2024, 2, 1))

    request = ticked(datetime(2024, 2, 1, 0, 7, tzinfo=UTC))

    assert request.tags["dagster/asset_partition_range_start"] == "2024-02-01"


def test_today_is_a_partition_at_the_first_tick_of_a_day() -> None:
    """Seven minutes past midnight the new day can be materialized already."""
    days = defs.resolve_job_def("refresh").partitions_def
    moment = datetime(2024, 2, 1, 0, 7, tzinfo=UTC)

    with dg.partition_loading_context(moment):
        newest = days.get_last_partition_key()

    assert newest == "2024-02-01" == ticked(moment).tags["dagster/asset_partition_range_end"]


def test_no_two_ticks_share_a_key() -> None:
    """Over a year's end too; the same tick evaluated twice is one run."""
    begin = datetime(2024, 12, 31, 20, 7, tzinfo=UTC)
    ticks = [begin + timedelta(hours=hours) for hours in range(30)]

    keys = [ticked(moment).run_key for moment in ticks]

    assert len(set(keys)) == 30
    assert keys == [ticked(moment).run_key for moment in ticks]


@pytest.mark.usefixtures("configured")
def test_a_tick_refreshes_the_table(pipeline: Pipeline) -> None:
    """The run that a tick asks for is valid, publishes everything and shows up in both days.

    Both assets are told to refresh: reading two days again every hour would be work for nothing.
    """
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.plant_job(pipeline.plant_tenant("Neighbour"), completed_at=NOON - 9 * HOUR)
    request = ticked(datetime(2024, 2, 1, 0, 7, tzinfo=UTC))
    job = defs.resolve_job_def("refresh")
    assert dg.validate_run_config(job, request.run_config)

    result = job.execute_in_process(run_config=request.run_config, tags=request.tags)

    for asset in BOTH:
        assert request.run_config["ops"][asset]["config"] == {
            "mode": "refresh",
            "organization_ids": [],
            "accept_deletes": False,
        }
        assert partitions(result, asset) == ["2024-01-31", "2024-02-01"]
    assert len(pipeline.cells()) == 54
    assert pipeline.differences() == []


def ticked(moment: datetime) -> dg.RunRequest:
    """What the schedule asks for at a moment."""
    with dg.build_schedule_context(
        scheduled_execution_time=moment, repository_def=defs.get_repository_def()
    ) as context:
        requests = hourly_refresh.evaluate_tick(context).run_requests
    assert len(requests) == 1
    return requests[0]

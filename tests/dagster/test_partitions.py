"""The days of the tables: which are done, what is said about each, and where they begin."""

from datetime import date

import dagster as dg
import pytest

from assets import partitions as days
from assets.tables import BY_DAY as TABLES
from pipelines.cli.dev import environment
from pipelines.facts.fact_table import find_first_day
from pipelines.postgres.connections import Run
from pipelines.settings import load_settings
from tests.support.dagster_runs import Result, backfill_run, metadata, partitions, refresh_run
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, NOON

pytestmark = pytest.mark.usefixtures("configured")

NAMES = [table.key.path[-1] for table in TABLES]


def test_a_refresh_materializes_every_day_that_it_covers_once(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    """From the first day with jobs of anybody to the run's newest, empty days too; the next adds no event."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.plant_job(pipeline.plant_tenant("Neighbour"), completed_at=NOON - 3 * DAY)

    first = refresh_run(NOON, instance=instance)
    second = refresh_run(NOON, instance=instance)

    covered = ["2024-01-28", "2024-01-29", "2024-01-30", "2024-01-31"]
    assert [partitions(first, name) for name in NAMES] == [covered] * 3
    assert [partitions(second, name) for name in NAMES] == [["2024-01-31"]] * 3


def test_a_run_says_its_figures_once_and_of_each_day_how_many_jobs_it_has(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    """What belongs to the run stands on its newest day; a figure on every day would be a flat line."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.plant_job(pipeline.plant_tenant("Neighbour"), completed_at=NOON - 2 * DAY)

    result = backfill_run(NOON - 2 * DAY, NOON, assets=NAMES, instance=instance, checked=False)

    said = {event.partition: event.materialization.metadata for event in materialized(result, "job_facts")}
    rows = {day: entries["dagster/partition_row_count"].value for day, entries in said.items()}
    assert rows == {"2024-01-29": 1, "2024-01-30": 0, "2024-01-31": 1}
    assert [day for day, entries in said.items() if "rows_read" in entries] == ["2024-01-31"]
    for name in NAMES[1:]:
        assert [bool(event.materialization.metadata) for event in materialized(result, name)] == [
            False,
            False,
            True,
        ]


def test_a_run_says_in_its_log_what_it_does(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    """What it was asked, what it read and wrote, which days it marked, and what should be set."""
    pipeline.plant_job(pipeline.plant_tenant(), completed_at=NOON - DAY)

    log = logged(refresh_run(NOON, instance=instance), instance)

    assert [line for line in log if line.startswith("Refresh for all organizations")] == [log[0]] * 3
    assert {"extract: 1 rows so far.", "publish: 27 rows so far."} <= set(log)
    assert "Read 1 jobs; facts: 1 inserted, 0 updated, 0 deleted." in log
    assert (
        "Days marked as materialized, because a refresh covers them: 1, from 2024-01-30 to 2024-01-30." in log
    )
    (advice,) = (line for line in log if "EXECMETRICS_PARTITIONS_SINCE" in line)
    assert "completed before 2024-01-30" in advice


def test_a_run_for_some_organizations_says_so_and_marks_no_other_day(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    """One of its days names the organization; days before stay missing, also after a refresh."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(tenant, completed_at=NOON - DAY)
    pipeline.plant_job(neighbour, completed_at=NOON - 2 * DAY)
    only = [str(tenant.organization)]
    config = {"ops": {name: {"config": {"mode": "refresh", "organization_ids": only}} for name in NAMES}}

    for result in (
        backfill_run(NOON, NOON, instance=instance, checked=False, organization_ids=only),
        refresh_run(NOON, instance=instance, run_config=config),
    ):
        assert partitions(result, "job_facts") == partitions(result, "aggregate_metrics") == ["2024-01-31"]
        for name in NAMES[:2]:
            said = metadata(result, name)["only_organizations"]
            assert said == f"Done for some organizations only (1), the others are as they were: {only[0]}"


def test_a_refresh_in_which_somebody_failed_marks_no_other_day(
    pipeline: Pipeline, instance: dg.DagsterInstance, configured: pytest.MonkeyPatch
) -> None:
    """The aggregates of that organization are not there; the next refresh that has them marks the days."""
    configured.setenv("EXECMETRICS_TOLERATED_FAILURES_PCT", "100")
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for one in (tenant, neighbour):
        pipeline.plant_job(one, completed_at=NOON - DAY)
    zone = "UPDATE orchestration.organizations SET time_zone = %s WHERE id = %s"
    pipeline.source.execute(zone, ["Mars/Olympus", tenant.organization])

    broken = backfill_run(NOON, NOON, instance=instance, checked=False, mode="refresh")
    pipeline.source.execute(zone, ["UTC", tenant.organization])
    whole = backfill_run(NOON, NOON, instance=instance, checked=False, mode="refresh")

    assert (broken.success, whole.success) == (True, True)
    assert partitions(broken, "aggregate_metrics") == ["2024-01-31"]
    assert partitions(whole, "aggregate_metrics") == ["2024-01-30", "2024-01-31"]


def test_a_day_that_failed_is_done_after_the_next_refresh_unless_a_backfill_failed(
    pipeline: Pipeline, instance: dg.DagsterInstance, configured: pytest.MonkeyPatch
) -> None:
    """A refresh makes good what an earlier one did not do; that a backfill failed is not hidden by it."""
    pipeline.plant_job(pipeline.plant_tenant(), completed_at=NOON - 2 * DAY)
    with configured.context() as patch:
        patch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: 0)  # noqa: ARG005
        patch.setenv("EXECMETRICS_DATABASE_URL", "postgresql://me@127.0.0.1:1/none")
        assert not backfill_run(NOON - 2 * DAY, NOON - 2 * DAY, instance=instance).success
        assert not refresh_run(NOON - DAY, instance=instance).success

    result = refresh_run(NOON, instance=instance)

    assert partitions(result, "job_facts") == ["2024-01-30", "2024-01-31"]


def test_years_without_jobs_are_marked_a_part_in_each_run(
    pipeline: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old history does not make one run write thousands of events; days with jobs never wait."""
    pipeline.plant_job(pipeline.plant_tenant(), completed_at=NOON - 5 * DAY)
    monkeypatch.setattr(days, "_EMPTY_DAYS_A_RUN", 2)

    runs = [facts_alone(instance) for _ in range(3)]

    assert [partitions(run, "job_facts")[:-1] for run in runs] == [
        ["2024-01-26", "2024-01-29", "2024-01-30"],
        ["2024-01-27", "2024-01-28"],
        [],
    ]


def test_an_earlier_first_day_keeps_what_is_done(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    """A partition is called as its day, wherever the days begin."""
    pipeline.plant_job(pipeline.plant_tenant())
    facts_alone(instance)
    asset, keys = dg.AssetKey("job_facts"), ["2021-06-01", "2024-01-31"]

    done = [
        instance.get_status_by_partition(
            asset, keys[-asked:], dg.DailyPartitionsDefinition(start, timezone="UTC", end_offset=1)
        )
        for start, asked in (("2024-01-31", 1), ("2021-06-01", 2))
    ]

    assert done[0] == {"2024-01-31": dg.AssetPartitionStatus.MATERIALIZED}
    assert done[1] == done[0] | {"2021-06-01": None}


def test_the_commands_begin_on_the_first_day_with_jobs(
    pipeline: Pipeline, instance: dg.DagsterInstance, configured: pytest.MonkeyPatch
) -> None:
    """Nobody has to set it on a machine of their own; whoever does is obeyed."""
    before = find_first_day(pipeline.settings)
    pipeline.plant_job(pipeline.plant_tenant())
    facts_alone(instance)
    found = find_first_day(pipeline.settings)

    derived = environment(pipeline.run, first_day=found)
    configured.setenv("EXECMETRICS_PARTITIONS_SINCE", "2023-05-01")
    chosen = environment(Run(pipeline.databases, load_settings(home=pipeline.settings.home)), first_day=found)

    assert (before, found) == (None, date(2024, 1, 31))
    assert derived["EXECMETRICS_PARTITIONS_SINCE"] == "2024-01-31"
    assert chosen["EXECMETRICS_PARTITIONS_SINCE"] == "2023-05-01"


def facts_alone(instance: dg.DagsterInstance) -> Result:
    """Refresh the first table and no other."""
    result = backfill_run(NOON, NOON, assets=["job_facts"], instance=instance, checked=False, mode="refresh")
    assert result.success
    return result


def materialized(result: Result, name: str) -> list[dg.DagsterEvent]:
    """The materializations of one table, in the order of their days."""
    events = [e for e in result.get_asset_materialization_events() if e.asset_key.path == [name]]
    return sorted(events, key=lambda event: event.partition)


def logged(result: Result, instance: dg.DagsterInstance) -> list[str]:
    """What the run's steps have said in its log."""
    return [entry.user_message for entry in instance.all_logs(result.run_id) if not entry.is_dagster_event]

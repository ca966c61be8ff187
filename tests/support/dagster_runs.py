"""Running the assets in this process, as the schedule's job and as the asset page's backfills do."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg

from assets.definitions import build_definitions, defs
from assets.jobs import REFRESH

BOTH = ("job_facts", "aggregate_metrics")

Result = dg.ExecuteInProcessResult


def refresh_run(
    day: date | None, *, definitions: dg.Definitions = defs, run_config: Any = REFRESH, **how: Any
) -> Result:
    """Run the job of the hourly schedule in the partition of a day, or in none."""
    job = definitions.resolve_job_def("refresh")
    tags = range_tags(day, day) if day else None
    return job.execute_in_process(run_config=run_config, tags=tags, raise_on_error=False, **how)


def backfill_run(
    first: date,
    last: date,
    *,
    assets: Sequence[str] = BOTH,
    definitions: dg.Definitions = defs,
    instance: dg.DagsterInstance | None = None,
    checked: bool = True,
    **scope: Any,
) -> Result:
    """Run what a backfill of the days from the first to the last, both included, has the daemon launch."""
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetKey(asset) for asset in assets}
    chosen = job.get_subset(asset_selection=keys, asset_check_selection=None if checked else set())
    config, tags = {"ops": {asset: {"config": scope} for asset in assets}}, range_tags(first, last)
    return chosen.execute_in_process(run_config=config, tags=tags, instance=instance, raise_on_error=False)


def checks_run(*names: str) -> Result:
    """Run the checks alone, all of them or some, as the button on the asset page does."""
    job = defs.resolve_implicit_global_asset_job_def()
    keys = {key for check in defs.asset_checks or () for key in check.check_keys}
    keys = {key for key in keys if key.name in names or not names}
    return job.get_subset(asset_check_selection=keys).execute_in_process(raise_on_error=False)


def job_run(name: str, **config: Any) -> Result:
    """Run a job of one step, configured if there is anything to say."""
    job = defs.resolve_job_def(name)
    configured = {"ops": {node.name: {"config": config} for node in job.nodes}} if config else None
    return job.execute_in_process(run_config=configured, raise_on_error=False)


def outcome(result: Result) -> dict[str, Any]:
    """What the step of a job says that it did."""
    assert result.success
    output = next(event for event in result.all_node_events if event.is_successful_output)
    return {name: entry.value for name, entry in output.step_output_data.metadata.items()}


def with_pipeline(pipeline: dg.ConfigurableResource) -> dg.Definitions:
    """The definitions around another pipeline resource."""
    return build_definitions(resources={"pipeline": pipeline})


def range_tags(first: date, last: date) -> dict[str, str]:
    """How a run is told its days."""
    ends = {"start": first, "end": last}
    return {f"dagster/asset_partition_range_{end}": day_key(day) for end, day in ends.items()}


def day_key(day: date | datetime) -> str:
    """The name of a day's partition."""
    return f"{day:%Y-%m-%d}"


def said(result: Result) -> list[str]:
    """The sentences of the steps that failed."""
    failures = [event.event_specific_data for event in result.get_step_failure_events()]
    ours = [(failure.user_failure_data, failure.error) for failure in failures]
    return [failure.description if failure else error.message for failure, error in ours]


def tries(result: Result, step: str) -> int:
    """How often a step was tried."""
    mine = [event.event_type for event in result.all_events if event.step_key == step]
    return mine.count(dg.DagsterEventType.STEP_START) + mine.count(dg.DagsterEventType.STEP_RESTARTED)


def metadata(result: Result, asset: str) -> dict[str, Any]:
    """What a materialization says about itself, in its newest partition."""
    events = [event for event in result.get_asset_materialization_events() if event.asset_key.path == [asset]]
    return {name: entry.value for name, entry in events[-1].materialization.metadata.items()}


def partitions(result: Result, asset: str) -> list[str]:
    """The days that a run has materialized."""
    events = result.get_asset_materialization_events()
    return [event.partition for event in events if event.asset_key.path == [asset]]


def verdicts(result: Result) -> dict[str, bool]:
    """What each check said."""
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}

"""The jobs and when they run: what refreshes the tables, compares them, and keeps them small."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import dagster as dg

from assets.checks import STANDING, metadata_equals_its_sources
from assets.failures import RETRIES, call_webhook
from assets.partitions import FIRST_DAY, Mode, Organizations, Scope, named
from assets.resources import Pipeline
from assets.tables import BY_DAY, execution_metadata, figures_of_sync
from pipelines.runs.execution_metadata import reconcile_metadata
from pipelines.runs.log_retention import LogsReport, keep_logs
from pipelines.runs.maintenance import retain, sweep_blobs, tidy_facts
from pipelines.runs.refresh import reconcile_created

# The fields of a report that a comparison of the source with the facts shows.
_OF_A_COMPARISON: Final = (
    "rows_read",
    "facts_inserted",
    "facts_updated",
    "facts_deleted",
    "cells_written",
    "cells_deleted",
)

REFRESH: Final = dg.RunConfig(
    ops={table.key.to_python_identifier(): Scope(mode=Mode.refresh) for table in BY_DAY}
)

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.assets(*BY_DAY),
    description="What changed in the source since the last run, whatever the day, into the tables.",
    config=REFRESH,
)

reconcile = dg.define_asset_job(
    "reconcile",
    selection=dg.AssetSelection.assets(*BY_DAY),
    description="Make the chosen days equal the source again; for many days choose them on the asset's page.",
)

# When the hourly run itself does not start, nobody else would say so.
standing_checks = dg.define_asset_job(
    "standing_checks",
    selection=dg.AssetSelection.checks(*STANDING),
    description="What is broken or late by now, whichever run it was that failed.",
)

sync_execution_metadata = dg.define_asset_job(
    "sync_execution_metadata",
    # Comparing everything every hour would cost more than it tells.
    selection=dg.AssetSelection.assets(execution_metadata).without_checks(),
    description="What was written in the source since the last sync, into execution_metadata.",
)

check_execution_metadata = dg.define_asset_job(
    "check_execution_metadata",
    selection=dg.AssetSelection.checks(metadata_equals_its_sources),
    description="Whether execution_metadata is what jobs, workflows and clients say.",
)


def _report(context: dg.OpExecutionContext, outcome: Mapping[str, Any]) -> None:
    """Say in the run's log and in the step's metadata what a step has done."""
    context.log.info(", ".join(f"{name} {value}" for name, value in outcome.items() if value != ""))
    context.add_output_metadata(outcome)


def _job_of(name: str, description: str, step: dg.OpDefinition) -> dg.JobDefinition:
    graph = dg.GraphDefinition(name, description=description, node_defs=[step])
    return graph.to_job(hooks={call_webhook})


def _upkeep(
    name: str, step: str, work: Callable[[Pipeline, dg.DagsterLogManager], dict[str, Any]], description: str
) -> dg.JobDefinition:
    """A job of one step, which does some work and says what came of it."""

    @dg.op(name=step, description=description, retry_policy=RETRIES)
    def worked(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
        _report(context, work(pipeline, context.log))

    return _job_of(name, description, worked)


def _compared(pipeline: Pipeline, log: dg.DagsterLogManager, *, recent: bool) -> dict[str, Any]:
    """Make jobs that were created in the trailing days, or all of them, equal the source again."""
    days = timedelta(days=pipeline.settings.digest_days)
    since = datetime.now(UTC).date() - days if recent else None
    log.info(f"Compare jobs created {f'since {since}' if since else 'at any time'} with the facts.")
    report = pipeline.follow(log, reconcile_created, since=since)
    return {name: getattr(report, name) for name in _OF_A_COMPARISON} | {
        name: named(f"{each.organization_id} {each.error_class}" for each in failed)
        for name, failed in (
            ("failed", report.failed),
            ("steps_failed", report.steps.failed if report.steps else ()),
        )
    }


def _kept(report: LogsReport) -> dict[str, Any]:
    """What was done to the partitions of the logs, in words."""
    months = {name: ", ".join(each) for name, each in vars(report).items() if isinstance(each, tuple)}
    held_back = "\n".join(f"{month}: {reason}" for month, reason in report.months_held_back.items())
    return {
        name: "" if each is None else each
        for name, each in (vars(report) | months | {"months_held_back": held_back}).items()
    }


@dg.op(retry_policy=RETRIES)
def repair_metadata(context: dg.OpExecutionContext, config: Organizations, pipeline: Pipeline) -> None:
    """Compare every row of execution_metadata with its sources, and write those that differ."""
    report = pipeline.run(reconcile_metadata, organization_ids=config.organizations())
    drifted = {"rows_drifted": sum(each.rows_drifted for each in report.found.drifted)}
    _report(context, figures_of_sync(report.sync) | ({} if report.sync.left_alone else drifted))


reconcile_execution_metadata = _job_of(
    "reconcile_execution_metadata",
    "Make every row of execution_metadata equal to its sources again, edits by hand included.",
    repair_metadata,
)

# When the jobs run by themselves, in UTC. Comparing the source with the facts is the only way to see what was
# deleted for good.
_TIMES: Final[dict[str, Any]] = {
    "37 * * * *": standing_checks,
    "17 * * * *": sync_execution_metadata,
    "12 4 * * *": check_execution_metadata,
    "22 2 * * 1-6": _upkeep(
        "nightly_checksums",
        "compare_recent_days",
        partial(_compared, recent=True),
        "Make jobs created in the trailing EXECMETRICS_DIGEST_DAYS equal the source again, deletes included.",
    ),
    "22 2 * * 0": _upkeep(
        "weekly_checksums",
        "compare_all_days",
        partial(_compared, recent=False),
        "Make all jobs equal the source again: follow whatever was deleted, however old it was.",
    ),
    "37 3 * * 0": _upkeep(
        "tidy_job_facts",
        "tidy",
        lambda pipeline, _log: asdict(pipeline.run(tidy_facts)),
        "Merge the small files that hourly runs leave in job_facts, and remove old ones.",
    ),
    "52 3 * * *": _upkeep(
        "retention",
        "let_go",
        lambda pipeline, _log: asdict(pipeline.run(retain)),
        "Remove what is older than EXECMETRICS_KEEP_HOURS, _RESTATEMENTS and _OUTCOMES.",
    ),
    "22 4 * * 0": _upkeep(
        "blob_sweeping",
        "sweep",
        lambda pipeline, _log: asdict(pipeline.run(sweep_blobs)),
        "Remove definitions from blob storage that no workflow has named for a day.",
    ),
    "7 4 * * *": _upkeep(
        "keep_log_partitions",
        "keep_partitions",
        lambda pipeline, _log: _kept(pipeline.run(keep_logs)),
        "Make partitions of execution_logs EXECMETRICS_LOG_MONTHS_AHEAD, and let go of those that are"
        " older than EXECMETRICS_KEEP_LOGS; logs that are not ours are left alone.",
    ),
}

JOBS_OF_DAGSTER: Final = (refresh, reconcile, reconcile_execution_metadata, *_TIMES.values())


# Some minutes past, when the jobs of the hour that ended have been written down.
@dg.schedule(
    job=refresh,
    cron_schedule="7 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Refresh the tables every hour; the run materializes yesterday, today and days never marked before."""
    now = context.scheduled_execution_time
    yesterday = max(now.date() - timedelta(days=1), FIRST_DAY)
    return dg.RunRequest(
        run_key=now.isoformat(),
        run_config=REFRESH,
        tags={
            "dagster/asset_partition_range_start": f"{yesterday:%Y-%m-%d}",
            "dagster/asset_partition_range_end": f"{now:%Y-%m-%d}",
            # Before any backfill that waits.
            "dagster/priority": "10",
        },
    )


SCHEDULES: Final = (
    hourly_refresh,
    *(
        dg.ScheduleDefinition(
            job=job,
            cron_schedule=time,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        for time, job in _TIMES.items()
    ),
)

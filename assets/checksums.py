"""Comparing the source with the facts by checksums: the only way to see what was deleted for good."""

import dagster as dg

from assets.failures import RETRIES, call_webhook
from assets.resources import Pipeline, report_outcome


@dg.op(retry_policy=RETRIES)
def compare_recent_days(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Make jobs created in the trailing EXECMETRICS_DIGEST_DAYS equal the source again."""
    report_outcome(context, pipeline.compare_checksums(context.log, recent=True))


@dg.op(retry_policy=RETRIES)
def compare_all_days(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Make all jobs equal the source again."""
    report_outcome(context, pipeline.compare_checksums(context.log, recent=False))


@dg.job(hooks={call_webhook}, description="Follow what was deleted from the source lately.")
def nightly_checksums() -> None:
    """One step: the trailing days."""
    compare_recent_days()


@dg.job(hooks={call_webhook}, description="Follow whatever was deleted from the source, however old it was.")
def weekly_checksums() -> None:
    """One step: every day there is."""
    compare_all_days()


every_night = dg.ScheduleDefinition(
    job=nightly_checksums,
    cron_schedule="22 2 * * 1-6",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

every_week = dg.ScheduleDefinition(
    job=weekly_checksums,
    cron_schedule="22 2 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

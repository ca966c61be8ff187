"""Comparing the source with the facts by digest: the only way to see what was deleted for good."""

import dagster as dg

from assets.failures import RETRIES, call_webhook
from assets.resources import Pipeline, report_outcome


@dg.op(retry_policy=RETRIES)
def digest_recent_days(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Make jobs created in the trailing EXECMETRICS_DIGEST_DAYS equal the source again."""
    report_outcome(context, pipeline.digest(context.log, recent=True))


@dg.op(retry_policy=RETRIES)
def digest_all_days(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Make all jobs equal the source again."""
    report_outcome(context, pipeline.digest(context.log, recent=False))


@dg.job(hooks={call_webhook}, description="Follow what was deleted from the source lately.")
def nightly_digest() -> None:
    """One step: the trailing days."""
    digest_recent_days()


@dg.job(hooks={call_webhook}, description="Follow whatever was deleted from the source, however old it was.")
def weekly_digest() -> None:
    """One step: every day there is."""
    digest_all_days()


every_night = dg.ScheduleDefinition(
    job=nightly_digest,
    cron_schedule="22 2 * * 1-6",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

every_week = dg.ScheduleDefinition(
    job=weekly_digest,
    cron_schedule="22 2 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

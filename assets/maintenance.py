"""Keeping the files of `job_facts` few and fresh."""

import dagster as dg

from assets.failures import RETRIES, call_webhook
from assets.resources import Pipeline


@dg.op(retry_policy=RETRIES)
def tidy(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Merge small files and drop those that no published version needs."""
    report = pipeline.tidy()
    context.add_output_metadata({"files_merged": report.files_merged, "files_removed": report.files_removed})


@dg.job(
    hooks={call_webhook},
    description="Merge the small files that hourly runs leave in job_facts, and remove old ones.",
)
def tidy_job_facts() -> None:
    """One step: tidy."""
    tidy()


weekly_tidying = dg.ScheduleDefinition(
    job=tidy_job_facts,
    cron_schedule="37 3 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

"""Keeping files few and fresh, tables as long as they shall be, blobs named, and logs in their months."""

from dataclasses import asdict

import dagster as dg

from assets.failures import RETRIES, call_webhook
from assets.resources import Pipeline, report_outcome


@dg.op(retry_policy=RETRIES)
def tidy(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Merge small files and drop those that no published version needs."""
    report_outcome(context, asdict(pipeline.tidy()))


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


@dg.op(retry_policy=RETRIES)
def let_go(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Remove hourly cells, restatements and outcomes that are older than they shall be kept."""
    report_outcome(context, asdict(pipeline.retain()))


@dg.job(
    hooks={call_webhook},
    description="Remove what is older than EXECMETRICS_KEEP_HOURS, _RESTATEMENTS and _OUTCOMES.",
)
def retention() -> None:
    """One step: let go."""
    let_go()


nightly_retention = dg.ScheduleDefinition(
    job=retention,
    cron_schedule="52 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.op(retry_policy=RETRIES)
def sweep(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Remove definitions from blob storage that no workflow names."""
    report_outcome(context, asdict(pipeline.sweep()))


@dg.job(
    hooks={call_webhook},
    description="Remove definitions from blob storage that no workflow has named for a day.",
)
def blob_sweeping() -> None:
    """One step: sweep."""
    sweep()


weekly_sweeping = dg.ScheduleDefinition(
    job=blob_sweeping,
    cron_schedule="22 4 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.op(retry_policy=RETRIES)
def keep_partitions(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Make partitions ahead, and archive and drop those that are older than they shall be kept."""
    report = pipeline.keep_logs()
    report_outcome(
        context,
        {
            "left_alone": report.left_alone or "",
            "months_made": ", ".join(report.months_made),
            "lines_moved": report.lines_moved,
            "indexes_built": ", ".join(report.indexes_built),
            "months_dropped": ", ".join(report.months_dropped),
            "months_held_back": "\n".join(
                f"{month}: {reason}" for month, reason in report.months_held_back.items()
            ),
            "archive_verified": report.archive_verified or "",
            "archives_swept": report.archives_swept,
        },
    )


@dg.job(
    hooks={call_webhook},
    description="Make partitions of execution_logs EXECMETRICS_LOG_MONTHS_AHEAD, and let go of those that are"
    " older than EXECMETRICS_KEEP_LOGS; logs that are not ours are left alone.",
)
def keep_log_partitions() -> None:
    """One step: keep partitions."""
    keep_partitions()


nightly_log_partitions = dg.ScheduleDefinition(
    job=keep_log_partitions,
    cron_schedule="7 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

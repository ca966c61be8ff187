"""When the tables are refreshed."""

from datetime import timedelta
from typing import Final

import dagster as dg

from assets.aggregate_metrics import aggregate_metrics
from assets.aggregate_step_metrics import aggregate_step_metrics
from assets.checks import STANDING, metadata_equals_its_sources
from assets.execution_metadata import execution_metadata
from assets.job_facts import job_facts
from assets.partitions import FIRST_DAY
from assets.scope import Mode, Scope

TABLES: Final = (job_facts, aggregate_metrics, aggregate_step_metrics)

REFRESH: Final = dg.RunConfig(
    ops={table.key.to_python_identifier(): Scope(mode=Mode.refresh) for table in TABLES}
)

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.assets(*TABLES),
    description="What changed in the source since the last run, whatever the day, into the tables.",
    config=REFRESH,
)


reconcile = dg.define_asset_job(
    "reconcile",
    selection=dg.AssetSelection.assets(*TABLES),
    description="Make the chosen days equal the source again; for many days choose them on the asset's page.",
)

# When the hourly run itself does not start, nobody else would say so.
standing_checks = dg.define_asset_job(
    "standing_checks",
    selection=dg.AssetSelection.checks(*STANDING),
    description="What is broken or late by now, whichever run it was that failed.",
)

hourly_checks = dg.ScheduleDefinition(
    job=standing_checks,
    cron_schedule="37 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


sync_execution_metadata = dg.define_asset_job(
    "sync_execution_metadata",
    # Comparing everything every hour would cost more than it tells.
    selection=dg.AssetSelection.assets(execution_metadata).without_checks(),
    description="What was written in the source since the last sync, into execution_metadata.",
)

hourly_sync = dg.ScheduleDefinition(
    job=sync_execution_metadata,
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

check_execution_metadata = dg.define_asset_job(
    "check_execution_metadata",
    selection=dg.AssetSelection.checks(metadata_equals_its_sources),
    description="Whether execution_metadata is what jobs, workflows and clients say.",
)

nightly_check = dg.ScheduleDefinition(
    job=check_execution_metadata,
    cron_schedule="12 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


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

"""Everything Dagster loads: named in workspace.yaml."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.aggregate_metrics import aggregate_metrics
from assets.aggregate_step_metrics import aggregate_step_metrics
from assets.checks import CHECKS, metadata_equals_its_sources
from assets.checksums import every_night, every_week, nightly_checksums, weekly_checksums
from assets.execution_logs import execution_logs
from assets.execution_metadata import execution_metadata, reconcile_execution_metadata
from assets.failures import call_webhook
from assets.job_facts import job_facts, source_jobs
from assets.maintenance import (
    blob_sweeping,
    keep_log_partitions,
    nightly_log_partitions,
    nightly_retention,
    retention,
    tidy_job_facts,
    weekly_sweeping,
    weekly_tidying,
)
from assets.resources import Pipeline
from assets.schedules import (
    check_execution_metadata,
    hourly_checks,
    hourly_refresh,
    hourly_sync,
    nightly_check,
    reconcile,
    refresh,
    standing_checks,
    sync_execution_metadata,
)


def build_definitions(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All definitions; `resources` replace those of the same name."""
    return dg.Definitions(
        assets=[
            source_jobs,
            execution_logs,
            *dg.with_source_code_references(
                [job_facts, aggregate_metrics, aggregate_step_metrics, execution_metadata]
            ),
        ],
        asset_checks=[check.with_hooks({call_webhook}) for check in (*CHECKS, metadata_equals_its_sources)],
        jobs=[
            refresh,
            reconcile,
            nightly_checksums,
            weekly_checksums,
            standing_checks,
            tidy_job_facts,
            retention,
            keep_log_partitions,
            blob_sweeping,
            sync_execution_metadata,
            check_execution_metadata,
            reconcile_execution_metadata,
        ],
        schedules=[
            hourly_refresh,
            hourly_checks,
            every_night,
            every_week,
            weekly_tidying,
            nightly_retention,
            nightly_log_partitions,
            weekly_sweeping,
            hourly_sync,
            nightly_check,
        ],
        resources={"pipeline": Pipeline()} | dict(resources or {}),
        # Polars and DuckDB use every core by themselves, and a process per step costs five seconds.
        executor=dg.in_process_executor,
    )


defs = build_definitions()

"""`aggregate_step_metrics`: how long the steps inside jobs take, and how they end."""

import dagster as dg

from assets import catalogue
from assets.aggregate_metrics import aggregate_metrics
from assets.execution_logs import execution_logs
from assets.failures import RETRIES, call_webhook
from assets.job_facts import source_jobs
from assets.partitions import A_MONTH_A_RUN, DAILY, report_days
from assets.resources import Pipeline
from assets.scope import Scope, completed_days
from pipelines.facts.fact_table import open_facts
from pipelines.state.stored_cells import stored_cells
from pipelines.subjects.steps import STEPS


@dg.asset(
    deps=[aggregate_metrics, execution_logs],
    partitions_def=DAILY,
    backfill_policy=A_MONTH_A_RUN,
    retry_policy=RETRIES,
    hooks={call_webhook},
    group_name="execution_metrics",
    kinds={"duckdb", "deltalake", "postgres"},
    owners=["team:data-platform"],
    freshness_policy=catalogue.freshness(),
    metadata=catalogue.of_aggregate_step_metrics(execution_logs.key, source_jobs.key),
)
def aggregate_step_metrics(
    context: dg.AssetExecutionContext, config: Scope, pipeline: Pipeline
) -> dg.MaterializeResult[None]:
    """Counts by outcome, durations and exact percentiles per organization, period, workflow and step."""
    report = pipeline.measure_steps(config, completed_days(context, config), context.log)
    if report is None:
        context.log.info("The source has no logs that may be read, so there are no steps to measure.")
        report_days(context, config, {"dagster/row_count": 0}, {})
        return dg.MaterializeResult()
    context.log.info(
        f"Read {report.rows_read:,} lines; computed {report.cells_computed:,} cells;"
        f" {report.cells_written:,} written, {report.cells_deleted:,} deleted;"
        f" {len(report.failed)} of {report.organizations} organizations failed."
    )
    report_days(
        context,
        config,
        {
            "dagster/row_count": stored_cells(pipeline.run, STEPS),
            "organizations": report.organizations,
            "rows_read": report.rows_read,
            "lines_not_counted": report.not_counted,
            "facts_inserted": report.facts_inserted,
            "facts_updated": report.facts_updated,
            "facts_deleted": report.facts_deleted,
            "cells_computed": report.cells_computed,
            "cells_written": report.cells_written,
            "cells_deleted": report.cells_deleted,
            "organizations_failed": len(report.failed),
        },
        open_facts(pipeline.settings).rows_by_day(),
        complete=not report.failed,
    )
    return dg.MaterializeResult()

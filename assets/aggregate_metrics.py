"""`aggregate_metrics`: the table that dashboards read."""

import dagster as dg

from assets import catalogue
from assets.failures import RETRIES, call_webhook
from assets.job_facts import job_facts
from assets.partitions import A_MONTH_A_RUN, DAILY, report_days
from assets.resources import Pipeline
from assets.scope import Scope, completed_days
from pipelines.facts.fact_table import open_facts
from pipelines.state.stored_cells import stored_cells
from pipelines.subjects.jobs import JOBS


@dg.asset(
    deps=[job_facts],
    partitions_def=DAILY,
    backfill_policy=A_MONTH_A_RUN,
    retry_policy=RETRIES,
    hooks={call_webhook},
    group_name="execution_metrics",
    kinds={"duckdb", "postgres"},
    owners=["team:data-platform"],
    freshness_policy=catalogue.freshness(),
    metadata=catalogue.of_aggregate_metrics(job_facts.key),
)
def aggregate_metrics(
    context: dg.AssetExecutionContext, config: Scope, pipeline: Pipeline
) -> dg.MaterializeResult[None]:
    """Counts, success rates, durations and exact percentiles per organization, period and dimension."""
    report = pipeline.publish(config, completed_days(context, config), context.log)
    context.log.info(
        f"Computed {report.cells_computed:,} cells; {report.cells_written:,} written,"
        f" {report.cells_deleted:,} deleted, {report.cells_restated:,} restated;"
        f" {len(report.failed)} of {report.organizations} organizations failed."
    )
    report_days(
        context,
        config,
        {
            "dagster/row_count": stored_cells(pipeline.run, JOBS),
            "organizations": report.organizations,
            "cells_computed": report.cells_computed,
            "cells_written": report.cells_written,
            "cells_deleted": report.cells_deleted,
            "cells_restated": report.cells_restated,
            "organizations_failed": len(report.failed),
            "anomalies": report.anomalies,
            **{f"{stage}_s": seconds for stage, seconds in report.seconds.items()},
        },
        open_facts(pipeline.settings).rows_by_day(),
        complete=not report.failed,
    )
    return dg.MaterializeResult()

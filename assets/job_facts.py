"""`job_facts`: one row per finished job."""

import dagster as dg

from assets import catalogue
from assets.failures import RETRIES, call_webhook
from assets.partitions import A_MONTH_A_RUN, DAILY, log_first_day, report_days
from assets.resources import Pipeline
from assets.scope import Scope, completed_days
from pipelines.facts.fact_table import open_facts

source_jobs = dg.AssetSpec(
    ["orchestration", "jobs"],
    description="Every execution of a workflow, in the orchestration service's own database; read only.",
    group_name="source",
    kinds={"postgres"},
    owners=["team:orchestration"],
)


@dg.asset(
    deps=[source_jobs],
    partitions_def=DAILY,
    backfill_policy=A_MONTH_A_RUN,
    retry_policy=RETRIES,
    hooks={call_webhook},
    group_name="execution_metrics",
    kinds={"deltalake", "polars"},
    owners=["team:data-platform"],
    freshness_policy=catalogue.freshness(),
    metadata=catalogue.of_job_facts(source_jobs.key),
)
def job_facts(
    context: dg.AssetExecutionContext, config: Scope, pipeline: Pipeline
) -> dg.MaterializeResult[None]:
    """One row per job that counts, merged from what changed in the source; no payload, no free text."""
    extraction = pipeline.extract(config, completed_days(context, config), context.log)
    absorbed = extraction.absorbed
    context.log.info(
        f"Read {extraction.rows_read:,} jobs; facts: {absorbed.inserted:,} inserted,"
        f" {absorbed.updated:,} updated, {absorbed.tombstones:,} deleted."
    )
    facts = open_facts(pipeline.settings)
    jobs_by_day = facts.rows_by_day()
    log_first_day(context, jobs_by_day)
    report_days(
        context,
        config,
        {
            "dagster/row_count": facts.rows,
            "facts_version": facts.version,
            "organizations": len(extraction.organization_ids),
            "rows_read": extraction.rows_read,
            "facts_inserted": absorbed.inserted,
            "facts_updated": absorbed.updated,
            "facts_deleted": absorbed.tombstones,
            **{f"{stage}_s": round(seconds, 3) for stage, seconds in extraction.seconds.items()},
        },
        jobs_by_day,
        counts_jobs=True,
    )
    return dg.MaterializeResult()

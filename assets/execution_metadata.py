"""`execution_metadata`: jobs with the names of their workflows and clients, beside the jobs themselves."""

from dataclasses import asdict
from typing import Any

import dagster as dg

from assets import catalogue
from assets.failures import RETRIES, call_webhook
from assets.job_facts import source_jobs
from assets.resources import Pipeline, report_outcome
from assets.scope import Organizations
from pipelines.executions.metadata import SyncReport


@dg.asset(
    deps=[source_jobs],
    retry_policy=RETRIES,
    hooks={call_webhook},
    group_name="execution_metrics",
    kinds={"postgres"},
    owners=["team:data-platform"],
    freshness_policy=catalogue.freshness(),
    metadata=catalogue.of_execution_metadata(source_jobs.key),
)
def execution_metadata(
    context: dg.AssetExecutionContext, config: Organizations, pipeline: Pipeline
) -> dg.MaterializeResult[None]:
    """Jobs with the names of their workflows and clients, copied where they were written since last time."""
    told = _told(pipeline.sync_metadata(config))
    context.log.info(", ".join(f"{name} {value}" for name, value in told.items()))
    return dg.MaterializeResult(metadata=told)


@dg.op(retry_policy=RETRIES)
def repair_metadata(context: dg.OpExecutionContext, config: Organizations, pipeline: Pipeline) -> None:
    """Compare every row of execution_metadata with its sources, and write those that differ."""
    report = pipeline.reconcile_metadata(config)
    drifted = {"rows_drifted": sum(each.rows_drifted for each in report.found.drifted)}
    report_outcome(context, _told(report.sync) | ({} if report.sync.left_alone else drifted))


@dg.job(
    hooks={call_webhook},
    description="Make every row of execution_metadata equal to its sources again, edits by hand included.",
)
def reconcile_execution_metadata() -> None:
    """One step: repair."""
    repair_metadata()


def _told(report: SyncReport) -> dict[str, Any]:
    """What was written, or the sentence that says why nothing was."""
    told = asdict(report)
    left_alone = told.pop("left_alone")
    return {"left_alone": left_alone} if left_alone else told

"""The tables: those of the source, the facts, the cells of each subject, and the copy of names."""

from dataclasses import asdict
from functools import partial
from typing import Any, Final

import dagster as dg

from assets import catalogue
from assets.failures import RETRIES, call_webhook
from assets.partitions import (
    A_MONTH_A_RUN,
    DAILY,
    Organizations,
    Scope,
    completed_days,
    log_first_day,
    report_days,
)
from assets.resources import Pipeline
from pipelines.executions.metadata import SyncReport
from pipelines.facts.fact_table import open_facts
from pipelines.runs.execution_metadata import sync_metadata
from pipelines.runs.refresh import RefreshReport, SubjectReport
from pipelines.state.stored_cells import stored_cells
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Subject

_BY_DAY: Final[dict[str, Any]] = {"partitions_def": DAILY, "backfill_policy": A_MONTH_A_RUN}

# What makes a function a table of ours.
_asset: Final = partial(
    dg.asset,
    retry_policy=RETRIES,
    hooks={call_webhook},
    group_name="execution_metrics",
    owners=["team:data-platform"],
    freshness_policy=catalogue.freshness(),
)

SOURCES: Final = {
    table: dg.AssetSpec(
        ["orchestration", table],
        description=description,
        group_name="source",
        kinds={"postgres"},
        owners=["team:orchestration"],
    )
    for table, description in {
        "jobs": "Every execution of a workflow, in the orchestration service's own database; read only.",
        "execution_logs": "A line for whatever an execution said, and for each of its steps; partitioned by"
        " month.",
    }.items()
}
source_jobs = SOURCES["jobs"]


@_asset(
    deps=[source_jobs],
    kinds={"deltalake", "polars"},
    metadata=catalogue.of_facts(JOBS, source_jobs.key),
    **_BY_DAY,
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
    figures = {
        "dagster/row_count": facts.rows,
        "facts_version": facts.version,
        "organizations": len(extraction.organization_ids),
        "rows_read": extraction.rows_read,
        "facts_inserted": absorbed.inserted,
        "facts_updated": absorbed.updated,
        "facts_deleted": absorbed.tombstones,
        **{f"{stage}_s": round(seconds, 3) for stage, seconds in extraction.seconds.items()},
    }
    report_days(context, config, figures, jobs_by_day, counts_jobs=True)
    return dg.MaterializeResult()


def _cells_of(subject: Subject) -> dg.AssetsDefinition:
    """The table of a subject's cells: of jobs from their facts, of others from the source, after the jobs."""
    above: list[dg.AssetsDefinition | dg.AssetSpec]
    if subject.source is None:
        above, kinds = [job_facts], {"duckdb", "postgres"}
    else:
        rows = SOURCES[subject.source.relation]
        above, kinds = [rows, CELLS[JOBS.name]], {"duckdb", "deltalake", "postgres"}
    dimensions = [each.short for each in subject.dimensions]

    @_asset(
        name=subject.table,
        description=f"Counts, durations and exact percentiles of {subject.name} per organization, period,"
        f" {', '.join(dimensions[:-1])} and {dimensions[-1]}.",
        deps=above,
        kinds=kinds,
        metadata=catalogue.of_cells(subject, above[0].key, source_jobs.key),
        **_BY_DAY,
    )
    def cells(
        context: dg.AssetExecutionContext, config: Scope, pipeline: Pipeline
    ) -> dg.MaterializeResult[None]:
        publish = pipeline.publish if subject is JOBS else pipeline.measure_steps
        report = publish(config, completed_days(context, config), context.log)
        if report is None:
            context.log.info("The source has no logs that may be read, so there are no steps to measure.")
            report_days(context, config, {"dagster/row_count": 0}, {})
            return dg.MaterializeResult()
        context.log.info(
            f"Read {report.rows_read:,} {subject.name}; computed {report.cells_computed:,} cells;"
            f" {report.cells_written:,} written, {report.cells_deleted:,} deleted,"
            f" {report.cells_restated:,} restated;"
            f" {len(report.failed)} of {report.organizations} organizations failed."
        )
        figures = {"dagster/row_count": pipeline.run(stored_cells, subject), **_figures(report)}
        days = open_facts(pipeline.settings).rows_by_day()
        report_days(context, config, figures, days, complete=not report.failed)
        return dg.MaterializeResult()

    return cells


def _figures(report: SubjectReport) -> dict[str, Any]:
    """What a pass did, as the catalogue shows it; what jobs were read and kept, their facts show."""
    counts = {name: value for name, value in vars(report).items() if isinstance(value, int)}
    counts["rows_not_counted"] = counts.pop("not_counted")
    counts["organizations_failed"] = len(report.failed)
    if not isinstance(report, RefreshReport):
        return counts
    seconds = {f"{stage}_s": each for stage, each in report.seconds.items()}
    return {name: each for name, each in counts.items() if not name.startswith(("rows_", "facts_"))} | seconds


# A pass over another subject begins when the jobs are published.
CELLS: Final[dict[str, dg.AssetsDefinition]] = {}
for _subject in SUBJECTS:
    CELLS[_subject.name] = _cells_of(_subject)
aggregate_metrics = CELLS[JOBS.name]

BY_DAY: Final = (job_facts, *CELLS.values())


@_asset(
    deps=[source_jobs],
    kinds={"postgres"},
    metadata=catalogue.of_execution_metadata(source_jobs.key),
)
def execution_metadata(
    context: dg.AssetExecutionContext, config: Organizations, pipeline: Pipeline
) -> dg.MaterializeResult[None]:
    """Jobs with the names of their workflows and clients, copied where they were written since last time."""
    figures = figures_of_sync(pipeline.run(sync_metadata, organization_ids=config.organizations()))
    context.log.info(", ".join(f"{name} {value}" for name, value in figures.items()))
    return dg.MaterializeResult(metadata=figures)


def figures_of_sync(report: SyncReport) -> dict[str, Any]:
    """What was written, or the sentence that says why nothing was."""
    figures = asdict(report)
    left_alone = figures.pop("left_alone")
    return {"left_alone": left_alone} if left_alone else figures

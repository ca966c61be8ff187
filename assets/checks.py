"""Whether the tables can be right: each check is one question to the whole table."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import dagster as dg

from assets.aggregate_metrics import aggregate_metrics
from assets.aggregate_step_metrics import aggregate_step_metrics
from assets.execution_logs import execution_logs
from assets.execution_metadata import execution_metadata
from assets.failures import RETRIES
from assets.resources import Pipeline
from pipelines.executions.metadata import OrganizationDrift
from pipelines.runs import checks
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject

# More rows than this in a hundred that cannot be counted are a fault of the source, not bad luck.
_TOLERATED_PCT: Final = 1.0

# Range runs copy what a check says to every partition, so it stays short.
_EXAMPLES: Final = 20


@dg.asset_check(asset=aggregate_metrics, blocking=True, retry_policy=RETRIES)
def parts_add_up_to_the_whole(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Per bucket, the counts by workflow, by client and by initiator each add up to the total's."""
    broken = checks.buckets_that_do_not_add_up(pipeline.run)
    return dg.AssetCheckResult(passed=broken == 0, metadata={"buckets_that_do_not_add_up": broken})


@dg.asset_check(asset=aggregate_metrics, retry_policy=RETRIES)
def every_fact_is_counted_once(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Per organization, the months' totals count as many jobs as there are facts."""
    differing = checks.organizations_that_differ_from_the_facts(pipeline.run)
    return dg.AssetCheckResult(
        passed=not differing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "organizations_that_differ": len(differing),
            "examples": ", ".join(str(organization_id) for organization_id in differing[:_EXAMPLES]),
        },
    )


@dg.asset_check(asset=aggregate_metrics, retry_policy=RETRIES)
def few_jobs_are_not_counted(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Hardly any finished job has to be left out because its row cannot be taken at face value."""
    listed = checks.anomalies(pipeline.run)
    return dg.AssetCheckResult(
        passed=listed.not_counted_pct <= _TOLERATED_PCT,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"not_counted_pct": listed.not_counted_pct, **listed.jobs_by_reason},
    )


@dg.asset_check(asset=aggregate_metrics, retry_policy=RETRIES)
def every_organization_was_published(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Every organization was published when that was last tried."""
    return _published(pipeline, JOBS)


@dg.asset_check(asset=aggregate_metrics, additional_deps=[aggregate_step_metrics], retry_policy=RETRIES)
def nothing_is_still_broken(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Nobody has failed since an earlier run, and nobody's deletes wait to be accepted, of jobs or steps."""
    broken = checks.standing_failures(pipeline.run)
    named = [
        f"{each.organization_id} {each.subject} {each.error_class} since {each.failing_since:%F %R}Z"
        for each in broken
    ]
    return dg.AssetCheckResult(
        passed=not broken,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "organizations_broken": len({each.organization_id for each in broken}),
            "organizations": ", ".join(named[:_EXAMPLES]),
        },
    )


@dg.asset_check(asset=aggregate_metrics, retry_policy=RETRIES)
def metrics_are_complete(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Every organization is complete through a moment no longer ago than EXECMETRICS_LAG_LIMIT."""
    behind = checks.lagging_organizations(pipeline.run)
    through = {key: f"{moment:%F %R}Z" if moment else "never" for key, moment in behind.items()}
    return dg.AssetCheckResult(
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"organizations_behind": len(behind), "organizations": _named(through)},
    )


@dg.asset_check(asset=aggregate_metrics, retry_policy=RETRIES)
def cells_equal_the_source(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """The organizations verified longest ago say what SQL on the source says; others are repaired."""
    report = pipeline.audit()
    context.log.info(
        f"Compared {report.cells_compared:,} cells of {len(report.organization_ids)} organizations with the"
        f" source: {len(report.found)} differed, {len(report.unrepaired)} could not be repaired."
    )
    broken = report.unrepaired or report.steps_unrepaired
    severity = dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=not (report.found or report.steps_found),
        severity=severity,
        metadata={
            "organizations_verified": len(report.verified),
            "cells_compared": report.cells_compared,
            "differences_found": len(report.found),
            # The facts were wrong, not the cells: usually jobs were deleted since the last comparison.
            "differences_of_facts": len(report.facts_differed),
            "differences_left": len(report.unrepaired),
            "differences_of_steps": len(report.steps_found),
        },
    )


@dg.asset_check(asset=aggregate_step_metrics, retry_policy=RETRIES)
def all_steps_were_published(pipeline: Pipeline) -> dg.AssetCheckResult:
    """The steps of every organization were published when that was last tried."""
    return _published(pipeline, STEPS)


@dg.asset_check(asset=aggregate_step_metrics, retry_policy=RETRIES)
def steps_are_complete(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Whose jobs were published has its steps read no longer ago than EXECMETRICS_LAG_LIMIT."""
    behind = checks.lagging_organizations(pipeline.run, STEPS)
    through = {key: f"{moment:%F %R}Z" if moment else "never" for key, moment in behind.items()}
    return dg.AssetCheckResult(
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"organizations_behind": len(behind), "organizations": _named(through)},
    )


@dg.asset_check(asset=execution_logs.key, retry_policy=RETRIES)
def every_line_is_in_its_month(pipeline: Pipeline) -> dg.AssetCheckResult:
    """The default partition of execution_logs is empty: its lines are in no month that can be dropped."""
    lines = checks.lines_without_a_month(pipeline.run)
    return dg.AssetCheckResult(
        passed=lines == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"lines_in_the_default_partition": lines},
    )


@dg.asset_check(asset=execution_metadata, retry_policy=RETRIES)
def metadata_equals_its_sources(pipeline: Pipeline) -> dg.AssetCheckResult:
    """No row of execution_metadata is missing, left over or other than its job, workflow and client say."""
    report = pipeline.find_drift()
    if report.left_alone:
        return dg.AssetCheckResult(passed=True, metadata={"left_alone": report.left_alone})
    drifted = {each.organization_id: _drifted(each) for each in report.drifted}
    return dg.AssetCheckResult(
        passed=not drifted,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rows_compared": report.rows_compared,
            "rows_pending": report.rows_pending,
            "rows_drifted": sum(each.rows_drifted for each in report.drifted),
            "organizations_drifted": len(drifted),
            "organizations": _named(drifted),
        },
    )


def _published(pipeline: Pipeline, subject: Subject) -> dg.AssetCheckResult:
    """Whether nobody's jobs, or steps, failed when they were last tried."""
    failed = checks.organizations_left_behind(pipeline.run, subject)
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"organizations_failed": len(failed), "organizations": _named(failed)},
    )


def _drifted(drift: OrganizationDrift) -> str:
    """How many rows are missing, left over or different in a column."""
    rows = {"missing": drift.rows_missing, "left over": drift.rows_left_over} | dict(drift.columns)
    return "(" + ", ".join(f"{what} {many}" for what, many in rows.items() if many) + ")"


def _named(organizations: Mapping[UUID, str]) -> str:
    """The first of them, each with what there is to say."""
    return ", ".join(f"{key} {said}" for key, said in list(organizations.items())[:_EXAMPLES])


STANDING: Final = (nothing_is_still_broken, metrics_are_complete, every_line_is_in_its_month)

CHECKS: Final = (
    parts_add_up_to_the_whole,
    every_fact_is_counted_once,
    few_jobs_are_not_counted,
    every_organization_was_published,
    cells_equal_the_source,
    all_steps_were_published,
    steps_are_complete,
    *STANDING,
)

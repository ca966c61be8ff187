"""Whether the tables can be right: each check is one question to the whole table."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

import dagster as dg

from assets.failures import RETRIES
from assets.partitions import named
from assets.resources import Pipeline
from assets.tables import CELLS, SOURCES, aggregate_metrics, execution_metadata
from pipelines.executions.metadata import OrganizationDrift
from pipelines.runs import checks
from pipelines.runs.audit import audit
from pipelines.runs.execution_metadata import find_drift
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Subject

Answer = Callable[[Pipeline, Subject], dg.AssetCheckResult]

# More rows than this in a hundred that cannot be counted are a fault of the source, not bad luck.
_TOLERATED_PCT: Final = 1.0

_of_jobs = partial(dg.asset_check, asset=aggregate_metrics, retry_policy=RETRIES)


def _warning(*, passed: bool, **shown: Any) -> dg.AssetCheckResult:
    """A result that stops nothing, whatever it says."""
    return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=shown)


@_of_jobs(blocking=True)
def parts_add_up_to_the_whole(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Per bucket, the counts by workflow, by client and by initiator each add up to the total's."""
    broken = pipeline.run(checks.buckets_that_do_not_add_up)
    return dg.AssetCheckResult(passed=broken == 0, metadata={"buckets_that_do_not_add_up": broken})


@_of_jobs()
def few_jobs_are_not_counted(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Hardly any finished job has to be left out because its row cannot be taken at face value."""
    listed = pipeline.run(checks.anomalies)
    few = listed.not_counted_pct <= _TOLERATED_PCT
    return _warning(passed=few, not_counted_pct=listed.not_counted_pct, **listed.jobs_by_reason)


@_of_jobs(additional_deps=list(CELLS.values())[1:])
def nothing_is_still_broken(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Nobody has failed since an earlier run, and nobody's deletes wait to be accepted, of jobs or steps."""
    broken = pipeline.run(checks.standing_failures)
    return _warning(
        passed=not broken,
        organizations_broken=len({each.organization_id for each in broken}),
        organizations=named(
            f"{each.organization_id} {each.subject} {each.error_class} since {each.failing_since:%F %R}Z"
            for each in broken
        ),
    )


@_of_jobs()
def cells_equal_the_source(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """The organizations verified longest ago say what SQL on the source says; others are repaired."""
    report = pipeline.run(audit)
    context.log.info(
        f"Compared {report.cells_compared:,} cells of {len(report.organization_ids)} organizations with the"
        f" source: {len(report.found)} differed, {len(report.unrepaired)} could not be repaired."
    )
    broken = report.unrepaired or report.steps_unrepaired
    return dg.AssetCheckResult(
        passed=not (report.found or report.steps_found),
        severity=dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN,
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


def _of_each_subject(
    of_jobs: str, of_others: str, says: str
) -> Callable[[Answer], list[dg.AssetChecksDefinition]]:
    """Make a check of the cells of each subject; `{}` in its name and description is the subject's name."""

    def made(answer: Answer) -> list[dg.AssetChecksDefinition]:
        def of(subject: Subject) -> dg.AssetChecksDefinition:
            @dg.asset_check(
                asset=CELLS[subject.name],
                name=(of_jobs if subject is JOBS else of_others).format(subject.name),
                description=says.format(subject.name),
                retry_policy=RETRIES,
            )
            def check(pipeline: Pipeline) -> dg.AssetCheckResult:
                return answer(pipeline, subject)

            return check

        return [of(subject) for subject in SUBJECTS]

    return made


@_of_each_subject(
    "every_fact_is_counted_once",
    "all_{}_are_counted_once",
    "Per organization, the months' totals count as many {} as there are facts.",
)
def _counted(pipeline: Pipeline, subject: Subject) -> dg.AssetCheckResult:
    differing = pipeline.run(checks.organizations_that_differ_from_the_facts, subject)
    return _warning(passed=not differing, organizations_that_differ=len(differing), examples=named(differing))


@_of_each_subject(
    "every_organization_was_published",
    "all_{}_were_published",
    "The {} of every organization were published when that was last tried.",
)
def _published(pipeline: Pipeline, subject: Subject) -> dg.AssetCheckResult:
    failed = pipeline.run(checks.organizations_left_behind, subject)
    return _warning(passed=not failed, organizations_failed=len(failed), organizations=_named(failed))


@_of_each_subject(
    "metrics_are_complete",
    "{}_are_complete",
    "The {} of every organization are complete through a moment no longer ago than EXECMETRICS_LAG_LIMIT.",
)
def _complete(pipeline: Pipeline, subject: Subject) -> dg.AssetCheckResult:
    behind = pipeline.run(checks.lagging_organizations, subject)
    through = {key: f"{moment:%F %R}Z" if moment else "never" for key, moment in behind.items()}
    return _warning(passed=not behind, organizations_behind=len(behind), organizations=_named(through))


@dg.asset_check(asset=SOURCES["execution_logs"].key, retry_policy=RETRIES)
def every_line_is_in_its_month(pipeline: Pipeline) -> dg.AssetCheckResult:
    """The default partition of execution_logs is empty: its lines are in no month that can be dropped."""
    lines = pipeline.run(checks.lines_without_a_month)
    return _warning(passed=lines == 0, lines_in_the_default_partition=lines)


@dg.asset_check(asset=execution_metadata, retry_policy=RETRIES)
def metadata_equals_its_sources(pipeline: Pipeline) -> dg.AssetCheckResult:
    """No row of execution_metadata is missing, left over or other than its job, workflow and client say."""
    report = pipeline.run(find_drift)
    if report.left_alone:
        return dg.AssetCheckResult(passed=True, metadata={"left_alone": report.left_alone})
    drifted = {each.organization_id: _drifted(each) for each in report.drifted}
    return _warning(
        passed=not drifted,
        rows_compared=report.rows_compared,
        rows_pending=report.rows_pending,
        rows_drifted=sum(each.rows_drifted for each in report.drifted),
        organizations_drifted=len(drifted),
        organizations=_named(drifted),
    )


def _drifted(drift: OrganizationDrift) -> str:
    """How many rows are missing, left over or different in a column."""
    rows = {"missing": drift.rows_missing, "left over": drift.rows_left_over} | dict(drift.columns)
    return "(" + ", ".join(f"{what} {many}" for what, many in rows.items() if many) + ")"


def _named(organizations: Mapping[UUID, str]) -> str:
    return named(f"{key} {said}" for key, said in organizations.items())


# What an hourly look asks even where no run starts.
STANDING: Final = (nothing_is_still_broken, *_complete, every_line_is_in_its_month)

CHECKS: Final = (
    parts_add_up_to_the_whole,
    few_jobs_are_not_counted,
    cells_equal_the_source,
    *_counted,
    *_published,
    *_complete,
    nothing_is_still_broken,
    every_line_is_in_its_month,
)

"""Whether the tables can be right: each check is one question to the whole table."""

from typing import Final

import dagster as dg

from assets.aggregate_metrics import aggregate_metrics
from assets.failures import RETRIES
from assets.resources import Pipeline
from pipelines import sanity

# More rows than this in a hundred that cannot be counted are a fault of the source, not bad luck.
_TOLERATED_PCT: Final = 1.0


@dg.asset_check(asset=aggregate_metrics, blocking=True, retry_policy=RETRIES)
def parts_add_up_to_the_whole(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Per bucket, the counts by workflow, by client and by initiator each add up to the total's."""
    broken = sanity.buckets_that_do_not_add_up(pipeline.databases, pipeline.settings)
    return dg.AssetCheckResult(passed=broken == 0, metadata={"buckets_that_do_not_add_up": broken})


@dg.asset_check(asset=aggregate_metrics, retry_policy=RETRIES)
def every_fact_is_counted_once(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Per organization, the months' totals count as many jobs as there are facts."""
    differing = sanity.organizations_that_differ_from_the_facts(pipeline.databases, pipeline.settings)
    return dg.AssetCheckResult(
        passed=not differing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "organizations_that_differ": len(differing),
            "examples": ", ".join(str(organization_id) for organization_id in differing[:20]),
        },
    )


@dg.asset_check(asset=aggregate_metrics, retry_policy=RETRIES)
def few_jobs_are_not_counted(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Hardly any finished job has to be left out because its row cannot be taken at face value."""
    listed = sanity.anomalies(pipeline.databases, pipeline.settings)
    return dg.AssetCheckResult(
        passed=listed.not_counted_pct <= _TOLERATED_PCT,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"not_counted_pct": listed.not_counted_pct, **listed.jobs_by_reason},
    )


CHECKS: Final = (parts_add_up_to_the_whole, every_fact_is_counted_once, few_jobs_are_not_counted)

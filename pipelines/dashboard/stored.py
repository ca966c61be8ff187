"""Whether rows that are asked for are kept at all, so that an empty answer means that nothing happened."""

from pipelines.dashboard.queries import MetricsQuery
from pipelines.errors import RangeNotStored
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import Mask, RollupPlan


def require_stored(query: MetricsQuery, plan: RollupPlan) -> None:
    """Raise `RangeNotStored` where a period is not kept for these dimensions together."""
    mask = Mask.TOTAL
    for asked, dimension in (
        (query.workflow, Mask.WORKFLOW),
        (query.client, Mask.CLIENT),
        (query.initiator, Mask.INITIATOR),
    ):
        if asked is not None:
            mask |= dimension
    if mask not in plan[query.period]:
        kept = ", ".join(f"{period}s" for period in Period if mask in plan[period])
        raise RangeNotStored(f"(whole {kept})" if kept else "(nothing: these are not kept together)")

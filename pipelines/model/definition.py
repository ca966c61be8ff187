"""What a figure means, in words that change whenever the meaning does."""

from pipelines.model.metrics import CELL_COLUMNS, PERCENTILES
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import RollupPlan

# Raised by hand when a rule changes that the text below does not show, such as which jobs count.
_RULES = 1


def definition(plan: RollupPlan) -> str:
    """The definition of the metrics under a rollup plan; another text means that every cell is stale."""
    depths = " ".join(
        f"{period}={'+'.join(str(mask.value) for mask in sorted(plan[period], key=lambda mask: mask.value))}"
        for period in Period
    )
    shares = " ".join(f"{name}={share}" for name, share in PERCENTILES.items())
    return f"rules {_RULES}; masks {depths}; percentiles {shares}; columns {' '.join(CELL_COLUMNS)}"

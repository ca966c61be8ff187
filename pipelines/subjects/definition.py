"""What a figure means, in words that change whenever the meaning does."""

from pipelines.subjects.measures import CELL_COLUMNS, PERCENTILES
from pipelines.subjects.periods import Period
from pipelines.subjects.rollup import STEP_ROLLUP_PLAN, RollupPlan
from pipelines.subjects.steps import LONGEST_NAME, STEP_CELL_COLUMNS

# Raised by hand when a rule changes that the text below does not show, such as which jobs count.
_RULES = 1
_STEP_RULES = 1


def definition(plan: RollupPlan) -> str:
    """The definition of the metrics under a rollup plan; another text means that every cell is stale."""
    return f"rules {_RULES}; {_measured(plan)}; columns {' '.join(CELL_COLUMNS)}"


def step_definition() -> str:
    """The definition of the metrics of steps."""
    return (
        f"steps; rules {_STEP_RULES}; names {LONGEST_NAME}; {_measured(STEP_ROLLUP_PLAN)};"
        f" columns {' '.join(STEP_CELL_COLUMNS)}"
    )


def _measured(plan: RollupPlan) -> str:
    depths = " ".join(
        f"{period}={'+'.join(str(mask.value) for mask in sorted(plan[period], key=lambda mask: mask.value))}"
        for period in Period
    )
    shares = " ".join(f"{name}={share}" for name, share in PERCENTILES.items())
    return f"masks {depths}; percentiles {shares}"

"""Which combinations of dimensions are stored for which period: the product's main cost."""

from collections.abc import Mapping
from enum import Flag
from itertools import combinations
from typing import Final

from pipelines.subjects.periods import Period


class Mask(Flag):
    """The dimensions that a cell is broken down by; a dimension left out is "all"."""

    TOTAL = 0
    WORKFLOW = 1
    CLIENT = 2
    INITIATOR = 4
    STEP = 8


_DIMENSIONS = (Mask.WORKFLOW, Mask.CLIENT, Mask.INITIATOR)


def masks_up_to(dimensions: int) -> tuple[Mask, ...]:
    """Every mask with at most so many dimensions, fewest first."""
    masks = []
    for size in range(dimensions + 1):
        for chosen in combinations(_DIMENSIONS, size):
            mask = Mask.TOTAL
            for dimension in chosen:
                mask |= dimension
            masks.append(mask)
    return tuple(masks)


_STEPS = (Mask.STEP, Mask.WORKFLOW | Mask.STEP)

RollupPlan = Mapping[Period, tuple[Mask, ...]]

# Finer periods multiply every mask, so they keep fewer: 4 + 7 + 8 + 8 = 27 cells for one job at most.
ROLLUP_PLAN: Final[RollupPlan] = {
    Period.HOUR: masks_up_to(1),
    Period.DAY: masks_up_to(2),
    Period.WEEK: masks_up_to(3),
    Period.MONTH: masks_up_to(3),
}

# Steps of different names have nothing in common, so they are never added up: 2 x 4 cells for one step.
STEP_ROLLUP_PLAN: Final[RollupPlan] = dict.fromkeys(Period, _STEPS)

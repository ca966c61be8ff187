"""What it costs a refresh to notice hard deletes: the look that counts and finds, beside the sweep alone."""

from collections.abc import Iterator
from statistics import median
from time import perf_counter

from pipelines.devtools.generated_month import GeneratedMonth
from pipelines.postgres.connections import connect
from pipelines.settings import Settings
from pipelines.source.selections import Swept
from pipelines.source.snapshot import open_source

_ROUNDS = 5

_CHANGE_A_FEW = """
UPDATE orchestration.jobs SET updated_at = updated_at
WHERE id IN (SELECT id FROM orchestration.jobs ORDER BY id LIMIT 200)
"""


def measure_sweeps(url: str, settings: Settings, month: GeneratedMonth) -> tuple[float, float]:
    """Read what changed, two hundred jobs, both ways in turns; give the seconds of each, medians."""
    taken: dict[str, list[float]] = {"sweep": [], "count": []}
    with open_source(url, settings) as source:
        asked = Swept(dict.fromkeys(month.organization_ids, source.moment.horizon))
    with connect(url, settings) as connection:
        connection.execute(_CHANGE_A_FEW)
    with open_source(url, settings) as source:
        for _ in range(_ROUNDS):
            begun = perf_counter()
            swept = sum(frame.height for frame in source.jobs(asked))
            between = perf_counter()
            changed = source.census(asked).changed
            assert changed
            assert sum(frame.height for frame in source.jobs(changed)) == swept
            taken["sweep"].append(between - begun)
            taken["count"].append(perf_counter() - between)
    return median(taken["sweep"]), median(taken["count"])


def sentences(swept: tuple[float, float]) -> Iterator[str]:
    """The figures as ratios."""
    sweep, count = swept
    yield (
        f"To count every job, for hard deletes, and to read two hundred that changed takes {count:.2f} s:"
        f" {count / sweep:.2f}x a sweep that reads them and counts nothing."
    )

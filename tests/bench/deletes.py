"""What it costs a refresh to notice hard deletes: the sweep with its count, beside the sweep alone."""

from collections.abc import Iterator
from statistics import median
from time import perf_counter

from pipelines.devtools.generated_month import GeneratedMonth
from pipelines.settings import Settings
from pipelines.source.selections import Swept
from pipelines.source.snapshot import open_source

_ROUNDS = 5


def measure_sweeps(url: str, settings: Settings, month: GeneratedMonth) -> tuple[float, float]:
    """Look for changes where there are none, in turns; give a sweep's seconds and its count's, medians."""
    taken: dict[str, list[float]] = {"sweep": [], "count": []}
    with open_source(url, settings) as source:
        asked = Swept(dict.fromkeys(month.organization_ids, source.moment.horizon))
        for _ in range(_ROUNDS):
            begun = perf_counter()
            list(source.jobs(asked))
            swept = perf_counter()
            source.census(asked)
            taken["sweep"].append(swept - begun)
            taken["count"].append(perf_counter() - swept)
    return median(taken["sweep"]), median(taken["count"])


def sentences(swept: tuple[float, float]) -> Iterator[str]:
    """The figures as ratios."""
    sweep, count = swept
    yield (
        f"A sweep that counts, for hard deletes, takes {count:.2f} s where nothing changed and"
        f" {count + sweep:.2f} s else: {count / sweep:.1f}x and {1 + count / sweep:.1f}x the sweep alone."
    )

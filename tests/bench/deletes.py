"""What it costs a refresh to notice hard deletes: the sweep with its count of jobs, beside sweeps without."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import psycopg

from pipelines.devtools.generated_month import GeneratedMonth
from pipelines.settings import Settings
from pipelines.source.selections import Swept
from pipelines.source.snapshot import open_source

HERE = Path(__file__).resolve().parent

_ROUNDS = 5


@dataclass(frozen=True)
class Sweeps:
    """Seconds, medians: a sweep that finds nothing, the count of it, and the sweep as it was before."""

    sweep: float
    counting: float
    before: float


def measure_sweeps(url: str, settings: Settings, month: GeneratedMonth) -> Sweeps:
    """Look for changes where there are none, in turns."""
    with open_source(url, settings) as source, psycopg.connect(url) as connection:
        horizon = source.moment.horizon
        asked = Swept(dict.fromkeys(month.organization_ids, horizon))
        before = (HERE / "swept_before.sql").read_text()
        timed: dict[str, list[float]] = {"sweep": [], "counting": [], "before": []}
        for _ in range(_ROUNDS):
            for name, act in (
                ("sweep", lambda: list(source.jobs(asked))),
                ("counting", lambda: source.census(asked)),
                ("before", lambda: connection.execute(before, {"horizon": horizon}).fetchall()),
            ):
                timed[name].append(_seconds(act))
    return Sweeps(*(median(timed[name]) for name in ("sweep", "counting", "before")))


def sentences(sweeps: Sweeps) -> Iterator[str]:
    """The figures as ratios."""
    both = sweeps.counting + sweeps.sweep
    yield (
        f"A sweep that counts, for hard deletes, takes {sweeps.counting:.2f} s where nothing changed and"
        f" {both:.2f} s else: {sweeps.counting / sweeps.sweep:.1f}x and {both / sweeps.sweep:.1f}x the sweep"
        f" alone, {sweeps.counting / sweeps.before:.1f}x and {both / sweeps.before:.1f}x the sweep as it was"
        " before it counted."
    )


def _seconds(act: Callable[[], Sequence[object] | object]) -> float:
    begun = perf_counter()
    act()
    return perf_counter() - begun

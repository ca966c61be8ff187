"""Running histories of a profile on a database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import randrange
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture.engine import ConjectureRunner
from hypothesis.stateful import get_state_machine_test

from pipelines.postgres.connections import Databases, connections_reused
from tests.support.histories.machine import machine_of
from tests.support.histories.profiles import Profile, Tally
from tests.support.histories.world import World
from tests.support.sampling import EVERYTHING

# Shrinking would run databases for minutes; the steps that failed are printed as they are.
QUICK = (Phase.generate,)

# A sample is the same histories each time, so that a mistake is noticed every time or never.
SAMPLE_SEED, SAMPLE_HISTORIES = 1, 6


def run_histories(
    profile: Profile, databases: Databases, home: Path, *, tally: Tally | None = None, **options: Any
) -> None:
    """Run a sample of a profile's histories, all of them, or `max_examples`; raise at the first difference.

    The same seed, which is the number, gives the same histories. Fewer than asked for are an error, too.
    """
    number = options.pop("number", randrange(2**32) if EVERYTHING else SAMPLE_SEED)
    world, tally = World(databases, home, loose=profile.loose), Tally() if tally is None else tally
    histories = profile.histories if EVERYTHING else SAMPLE_HISTORIES
    options = {"max_examples": histories, "stateful_step_count": profile.steps, "phases": QUICK} | options
    limits = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, **options)
    test = get_state_machine_test(machine_of(world, profile, tally), settings=limits)
    try:
        with _each_unlike_the_last(), connections_reused():
            seed(number)(test)()
    except BaseException as failed:
        failed.add_note(f"profile {profile.name}, seed {number}: {tally}")
        raise
    finally:
        world.close()
    assert tally.histories >= options["max_examples"]


@contextmanager
def _each_unlike_the_last() -> Iterator[None]:
    """Five of six histories would be the one before with a part of it repeated."""
    with patch.object(ConjectureRunner, "generate_mutations_from", lambda _self, _data: None):
        yield

"""Random long histories for so many minutes: `make torture`."""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from pipelines.postgres.connections import Databases
from tests.conftest import creating_databases, make_template, running_server
from tests.support.histories.profiles import PROFILES, Tally
from tests.support.watchdog import discard


def main() -> int:
    """Torture, and say what came of it; 1 when anything was different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="of the first round")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="one after the other when not given")
    # A round is the histories of one profile on one database, and ends before anything adds up.
    parser.add_argument("--histories", type=int, default=12, help="in a round")
    parser.add_argument("--steps", type=int, default=25, help="in a history")
    asked = parser.parse_args()
    _say(f"{asked.processes} processes, {asked.minutes:g} minutes, seed {asked.seed}")
    folder = Path(tempfile.mkdtemp(prefix="execmetrics-torture-"))
    # The account of an embedded server has to pass through it.
    folder.chmod(0o711)
    # The processes inherit it.
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    try:
        with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as workers:
            tallies = list(workers.map(partial(_work, asked, folder), range(asked.processes)))
    finally:
        discard(folder)
    total = sum(tallies, Tally())
    _say(str(total))
    _say("cut off: " + ", ".join(f"{place} {times}" for place, times in sorted(total.crashes.items())))
    return 0 if total.histories and not total.differences else 1


def _work(asked: argparse.Namespace, folder: Path, number: int) -> Tally:
    """Make rounds until the time is over, or one goes wrong."""
    from hypothesis import Phase

    from tests.support.histories.histories import run_histories

    total, until, home = Tally(), time.monotonic() + asked.minutes * 60, folder / str(number)
    home.mkdir(mode=0o711)
    options = {"max_examples": asked.histories, "stateful_step_count": asked.steps}
    options["phases"] = (Phase.generate, Phase.shrink)
    with running_server(home / "server") as server:
        make_template(server)
        seeds = count(asked.seed + number, asked.processes)
        while not total.differences and time.monotonic() < until:
            seed = next(seeds)
            profile = PROFILES[asked.profile or sorted(PROFILES)[seed % len(PROFILES)]]
            tally, facts = Tally(), home / "facts"
            facts.mkdir()
            with creating_databases(server) as create:
                url = create()
                try:
                    run_histories(profile, Databases(url, url), facts, number=seed, tally=tally, **options)
                # Polars panics with no Exception.
                except BaseException as wrong:
                    tally.differences = max(tally.differences, 1)
                    _say("\n".join([repr(wrong), *getattr(wrong, "__notes__", [])]))
            shutil.rmtree(facts)
            total += tally
            _say(f"process {number}: {total}")
    return total


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

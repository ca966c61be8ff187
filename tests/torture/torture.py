"""Random long histories for so many minutes: `make torture`."""

import argparse
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

from tests.support.histories.profiles import PROFILES
from tests.support.histories.servers import fresh_database, running_server, temporary_folder
from tests.support.histories.tally import Tally

# A round is the histories of one profile on one database, and ends before anything adds up.
_HISTORIES, _STEPS = 12, 25
_EVERY_S = 30


@dataclass(frozen=True)
class Round:
    """What came of one round; `failure` tells the smallest history that went wrong."""

    profile: str
    seed: int
    tally: Tally
    failure: str | None = None


def main() -> int:
    """Torture, and say what came of it; 1 when anything was different."""
    asked = _arguments()
    seed = asked.seed if asked.seed is not None else random.randrange(2**31)
    _say(f"{asked.processes} processes, {asked.minutes:g} minutes, seed {seed}")
    total, begun, failed = Tally(), time.monotonic(), False
    with temporary_folder() as folder, _workers(asked, seed, folder) as (rounds, workers):
        told = begun
        while (elapsed := time.monotonic() - begun) < asked.minutes * 60:
            try:
                done: Round = rounds.get(timeout=1)
            except Empty:
                if all(worker.is_alive() for worker in workers):
                    continue
                failed = True
                _say("A process ended before its time.")
                break
            total += done.tally
            if done.failure:
                failed = True
                _say(done.failure)
                _say(f"profile {done.profile}, seed {done.seed} of {asked.histories} histories failed")
                break
            if time.monotonic() - told > _EVERY_S:
                told = time.monotonic()
                _say(f"{elapsed / 60:5.1f} min: {total}")
    _say(str(total))
    _say("cut off: " + ", ".join(f"{place} {times}" for place, times in sorted(total.crashes.items())))
    return 0 if total.histories and not failed and not total.differences else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="of the first round; another one each time when not given")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="one after the other when not given")
    parser.add_argument("--histories", type=int, default=_HISTORIES, help="in a round")
    parser.add_argument("--steps", type=int, default=_STEPS, help="in a history")
    return parser.parse_args()


@contextmanager
def _workers(
    asked: argparse.Namespace, seed: int, folder: Path
) -> Iterator[tuple["Queue[Round]", list[SpawnProcess]]]:
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    context = get_context("spawn")
    rounds: Queue[Round] = context.Queue()
    workers = [
        context.Process(target=_work, args=(asked, seed + number, folder / str(number), rounds), daemon=True)
        for number in range(asked.processes)
    ]
    for worker in workers:
        worker.start()
    try:
        yield rounds, workers
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _work(asked: argparse.Namespace, seed: int, home: Path, rounds: "Queue[Round]") -> None:
    # Imported where Hypothesis has been told which folder is its own.
    from hypothesis import Phase

    from tests.support.histories.histories import run_histories

    home.mkdir(mode=0o711)
    with running_server(home / "server") as url:
        for number in count(seed, asked.processes):
            profile = PROFILES[asked.profile or sorted(PROFILES)[number % len(PROFILES)]]
            tally, failure = Tally(), None
            folder = home / str(number)
            folder.mkdir()
            with fresh_database(url) as databases:
                try:
                    run_histories(
                        profile,
                        databases,
                        folder,
                        number=number,
                        tally=tally,
                        max_examples=asked.histories,
                        stateful_step_count=asked.steps,
                        phases=(Phase.generate, Phase.shrink),
                    )
                # Polars panics with no Exception.
                except BaseException as wrong:
                    failure = "\n".join([repr(wrong), *getattr(wrong, "__notes__", [])])
            shutil.rmtree(folder)
            rounds.put(Round(profile.name, number, tally, failure))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

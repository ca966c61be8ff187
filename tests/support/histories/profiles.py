"""Which sorts of trouble a history is made of, what is named twice twice as often; and what came of many."""

from collections import Counter
from dataclasses import dataclass, field

COME = ("comes", "comes", "begins")
WORK = ("finishes", "finishes elsewhere", "retried", "lasts otherwise", *("moves in the organization",) * 2)
EDITS = ("moves to another organization", "created on another day", "cancelled", "touched")
DELETES = ("soft-deleted", "soft-deleted", "undeleted", "undeleted")
BEHIND = ("changed behind the application's back", "changed long ago")
WRONG = ("negative", "start forgotten", "infinite", "out of range", "too early", "far future", "soon")
WRONGER = ("completion forgotten", "of a foreign workflow", "for a foreign client", "of a reserved workflow")
WRONGER += ("initiated by all", "archived", "moves to an unknown organization")
TRANSACTIONS = ("insert and wait", "change and wait", "commit", "commit", "roll back")
GONE = ("job deleted", "client deleted", "workflow deleted")
HANDED_OVER = ("workflow handed over", "workflow handed over", "client handed over")
ZONES = ("zone", "zone")
SPOILING = ("lost", "cut", "log emptied", "feed lost", "copied", "put back")


@dataclass(frozen=True)
class Profile:
    """How many histories of how many steps, and what happens in them.

    `killed`: how many of ten runs are meant to be cut off; `meanwhile`: during how many of ten somebody
    writes. A `loose` source has no constraints.
    """

    name: str
    histories: int
    writes: tuple[str, ...]
    runs: tuple[str, ...]
    loose: bool = False
    steps: int = 4
    killed: int = 3
    meanwhile: int = 2


CHANGES = Profile(
    "changes",
    histories=50,
    writes=COME + WORK * 2 + EDITS + DELETES + BEHIND + ZONES + GONE + ("negative", "no zone"),
    runs=("sweep",) * 6 + ("one organization", "range", "checksums", "created since", "verify"),
)
CRASHES = Profile(
    "crashes",
    histories=50,
    writes=COME + WORK * 2 + EDITS + DELETES + ZONES + GONE + ("plan", "plan", *SPOILING, "copied"),
    runs=("sweep",) * 7 + ("one organization", "checksums", "rebuild", "tidy"),
    killed=7,
)
TIERS = Profile(
    "tiers",
    histories=50,
    writes=COME + WORK + EDITS + DELETES + BEHIND * 4 + GONE + TRANSACTIONS * 2,
    runs=("indexed",) * 6 + ("indexed and due", "one organization", "range", "checksums", "sweep"),
    meanwhile=6,
)
ANOMALIES = Profile(
    "anomalies",
    histories=50,
    writes=COME + WORK + EDITS + DELETES + WRONG + WRONGER + ("repaired",) * 5 + HANDED_OVER + GONE[1:],
    runs=("sweep",) * 6 + ("indexed", "one organization", "checksums", "range"),
    loose=True,
)
PROFILES = {profile.name: profile for profile in (CHANGES, CRASHES, TIERS, ANOMALIES)}


@dataclass
class Tally:
    """How many histories and runs there were, how many cells were compared, and how many were different.

    Only faults that fired count as crashes, by the place where the run was cut off.
    """

    histories: int = 0
    writes: int = 0
    runs: int = 0
    crashes: Counter[str] = field(default_factory=Counter)
    rows_compared: int = 0
    differences: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Tally(*(mine + theirs for mine, theirs in both))

    def __str__(self) -> str:
        return (
            f"{self.histories:,} histories, {self.writes:,} writes, {self.runs:,} runs,"
            f" {self.crashes.total():,} crashes fired at {len(self.crashes)} places,"
            f" {self.rows_compared:,} rows compared, {self.differences:,} differences"
        )

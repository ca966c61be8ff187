"""Which sorts of trouble a history is made of; what is named twice comes twice as often."""

from dataclasses import dataclass

COME = ("comes", "comes", "begins")
WORK = (
    "finishes",
    "finishes elsewhere",
    "retried",
    "lasts otherwise",
    "moves in the organization",
    "moves in the organization",
)
EDITS = ("moves to another organization", "created on another day", "cancelled", "touched")
DELETES = ("soft-deleted", "soft-deleted", "undeleted", "undeleted")
BEHIND = ("changed behind the application's back", "changed long ago")
WRONG = ("negative", "start forgotten", "infinite", "out of range", "too early", "far future", "soon")
WRONGER = (
    "completion forgotten",
    "of a foreign workflow",
    "for a foreign client",
    "of a reserved workflow",
    "initiated by all",
    "archived",
    "moves to an unknown organization",
)
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

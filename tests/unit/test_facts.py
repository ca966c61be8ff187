"""The facts say of each job what was last said of it, count it once, and tell what changed."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from pipelines.errors import FactsConflict, FeedLost
from pipelines.facts import delta, fact_table
from pipelines.facts.fact_table import Absorbed, Facts, open_facts
from pipelines.facts.folder import find_set_aside, newest_version
from pipelines.facts.health import examine
from pipelines.facts.merge import checksums
from pipelines.settings import Settings, load_settings
from pipelines.subjects.dimensions import Dimension
from pipelines.subjects.jobs import JOBS
from tests.support.fact_changes import Row, change, frame, id_of
from tests.support.planting import DAY, MINUTE, NOON
from tests.support.sampling import EVERYTHING

_THEIRS = {"organization_id": id_of(9)}
NEIGHBOUR = [change(900 + n, created_at=NOON + n * DAY, row_hash=n - 5, **_THEIRS) for n in range(4)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose facts lie in a folder that nobody has made yet, with signs in its name."""
    return load_settings(facts_url=str(tmp_path / "env=prod/50% of a?b*c#d 'é'"))


@pytest.fixture
def facts(settings: Settings) -> Facts:
    """Facts that hold a neighbour's jobs of four days."""
    facts = open_facts(settings)
    facts.fill(frame(*NEIGHBOUR))
    return facts


def test_what_is_handed_over_is_there(facts: Facts, settings: Settings) -> None:
    """Every column comes back as it went in, in a table that is opened again."""
    rows = [change(1), change(2, client_id=id_of(3), initiator_type=None, created_at=NOON + DAY)]

    absorbed = facts.absorb(frame(*rows))

    assert absorbed == Absorbed(inserted=2)
    assert counted(open_facts(settings)) == counted_rows([*rows, *NEIGHBOUR])


def test_asking_for_the_newest_version_makes_no_table(settings: Settings) -> None:
    """The log alone says it; before the first hand-off it is the one that the first commit will have."""
    assert newest_version(settings.facts_location) == 0
    assert not Path(settings.facts_location).exists()

    facts = open_facts(settings)
    facts.fill(frame(change(1)))

    assert newest_version(settings.facts_location) == facts.version == 1


def test_twice_is_once(facts: Facts) -> None:
    """Rows that are there already, and rows that never counted, make no new version."""
    facts.absorb(frame(change(1), change(2)))
    facts.absorb(frame(change(2, gone="deleted")))
    before = facts.version
    never = (change(job, gone="retried", created_date=None) for job in range(10, 100))

    again = facts.absorb(frame(change(1), change(2, gone="deleted"), change(3, gone="retried"), *never))

    assert (again, facts.version) == (Absorbed(), before)


def test_an_edit_replaces_the_row(facts: Facts) -> None:
    """A row whose hash differs is replaced whole; one whose hash is the same stays as it is."""
    facts.absorb(frame(change(1), change(2)))
    edited = change(1, status="FAILED", row_hash=-1)

    absorbed = facts.absorb(frame(edited, change(2, status="FAILED")))

    assert absorbed == Absorbed(updated=1)
    assert counted(facts) == counted_rows([edited, change(2), *NEIGHBOUR])


def test_a_job_that_stops_counting_keeps_its_row_and_the_reason(facts: Facts) -> None:
    """It leaves everything that counts, and its figures stay what they were, whatever is said of it later."""
    facts.absorb(frame(change(1)))

    absorbed = facts.absorb(frame(change(1, status="RUNNING", completed_at=None, row_hash=7, gone="retried")))
    facts.absorb(frame(change(1, gone="deleted")))

    assert absorbed == Absorbed(tombstones=1)
    assert counted(facts) == counted_rows(NEIGHBOUR)
    assert facts.rows == len(NEIGHBOUR)
    assert facts.rows_by_organization() == {UUID(int=9): len(NEIGHBOUR)}
    assert id_of(1) not in checksums(facts.scan(), "created_date")["organization_id"]
    assert kept(facts, 1) == [change(1, gone="retried")]


def test_a_job_that_counts_again_is_as_new(facts: Facts) -> None:
    """Undeleted with the same hash, or retried with another one: it is back, once."""
    facts.absorb(frame(change(1), change(2)))
    facts.absorb(frame(change(1, gone="deleted"), change(2, gone="retried")))
    retried = change(2, row_hash=8, completed_at=NOON + DAY)

    absorbed = facts.absorb(frame(change(1), retried))

    assert absorbed == Absorbed(updated=2)
    assert counted(facts) == counted_rows([change(1), retried, *NEIGHBOUR])


def test_a_job_whose_creation_was_edited_counts_once(facts: Facts) -> None:
    """To and fro between two days and to a third, it counts on one of them; that is one commit each time."""
    there, elsewhere, far = (change(1, created_at=NOON + days * DAY, row_hash=days) for days in (0, 1, 40))
    facts.absorb(frame(there))
    before = facts.version

    for row in (elsewhere, there, far, elsewhere):
        facts.absorb(frame(row))
        assert counted(facts) == counted_rows([row, *NEIGHBOUR])

    assert facts.version == before + 4
    assert {row["gone"] for row in kept(facts, 1)} == {None, "edited"}


def test_a_job_without_a_day_leaves_the_partition_it_had(facts: Facts) -> None:
    """A creation that became infinite is none; the job is found all the same."""
    facts.absorb(frame(change(1)))

    absorbed = facts.absorb(frame(change(1, created_date=None, gone="edited")))

    assert absorbed == Absorbed(tombstones=1)
    assert counted(facts) == counted_rows(NEIGHBOUR)


def test_many_days_are_written_in_portions(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is spared by several commits; a job that moves across them still moves in one."""
    monkeypatch.setattr(fact_table, "_MERGED_FACTS", 3)
    days = [change(job, created_at=NOON + job * DAY) for job in range(10)]
    facts.absorb(frame(*days))
    before = facts.version
    edited = [row | {"row_hash": -1 - number} for number, row in enumerate(days[:-1])]
    moved = change(9, row_hash=-99)

    absorbed = facts.absorb(frame(*edited, moved))

    assert absorbed == Absorbed(inserted=1, updated=9, tombstones=1)
    assert facts.version > before + 1
    assert counted(facts) == counted_rows([*edited, moved, *NEIGHBOUR])
    commits = [changes for changes in facts.changes_since(before) if id_of(9) in changes["job_id"]]
    assert [len(changes.filter(pl.col("job_id") == id_of(9))) for changes in commits] == [3]


@pytest.mark.parametrize("act", ["fill", "absorb new", "absorb edited", "purge"])
def test_nothing_is_written_over_what_somebody_else_wrote(act: str, facts: Facts, settings: Settings) -> None:
    """A writer that read the version before is refused, and goes on from the newest one."""
    facts.absorb(frame(change(1), change(2)))
    facts.absorb(frame(change(2, gone="deleted")))
    acts = {
        "fill": lambda table: table.fill(frame(change(3))),
        "absorb new": lambda table: table.absorb(frame(change(3))),
        "absorb edited": lambda table: table.absorb(frame(change(1, row_hash=-1))),
        "purge": lambda table: table.purge_tombstones(datetime.now(UTC) + DAY),
    }
    open_facts(settings).absorb(frame(change(4, created_at=NOON + 9 * DAY)))
    before = open_facts(settings).version

    with pytest.raises(FactsConflict, match="nothing was lost"):
        acts[act](facts)

    newest = open_facts(settings)
    assert newest.version == before
    acts[act](newest)
    assert newest.version == before + 1
    assert {id_of(1), id_of(4)} <= set(newest.scan().collect()["job_id"])


FOLDERS = (
    "env=prod env=1/env=2 created_date=2020-01-01 status=live = a=b=c 50% 100%zz * ? a?b=c # 'q' \"d\""
    " a+b&c;d {a,b} ~ $HOME a:b a@b <x> `x` Müller 日本"
)


@pytest.mark.parametrize("as_written", [str, Path.as_uri], ids=["path", "url"])
@pytest.mark.parametrize(
    "folder",
    [
        *("env=1/env=2/a?b=c/50% *", "created_date=2020-01-01"),
        *(pytest.param(folder, marks=pytest.mark.only_in_everything) for folder in ("a b", *FOLDERS.split())),
    ],
)
@pytest.mark.parametrize("few", [50, 0], ids=["few files", "many files"])
def test_facts_live_in_any_folder(
    folder: str, as_written: Callable[[Path], str], few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signs that mean something in a URL, a pattern or a partition are parts of a name."""
    monkeypatch.setattr(delta, "_FEW_FILES", few)
    place = tmp_path / folder / "facts"
    settings = load_settings(facts_url=as_written(place))
    facts = open_facts(settings)
    facts.fill(frame(*NEIGHBOUR))

    facts.absorb(frame(change(1), change(2, created_at=NOON + DAY)))
    facts.absorb(frame(change(1, row_hash=-1), change(2, created_at=NOON + DAY, gone="deleted")))

    reopened = open_facts(settings)
    assert (place / "_delta_log").is_dir()
    assert newest_version(settings.facts_location) == reopened.version
    assert counted(reopened) == counted_rows([change(1, row_hash=-1), *NEIGHBOUR])
    assert sum(changes.height for changes in reopened.changes_since(1)) == 2 + 4
    assert examine(settings.facts_location) is None
    reopened.compact()
    assert reopened.purge_tombstones(datetime.now(UTC) + DAY) == 1
    reopened.vacuum(timedelta(days=7))
    assert counted(open_facts(settings)) == counted_rows([change(1, row_hash=-1), *NEIGHBOUR])


@pytest.mark.parametrize("written", ["relative", "./relative/", "a/../relative", "relative//"])
def test_one_folder_is_one_table_however_it_is_written(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, roundabout or with a slash at its end."""
    monkeypatch.chdir(tmp_path)
    table = open_facts(load_settings(facts_url=str(tmp_path / "relative"))).table_id

    assert open_facts(load_settings(facts_url=written)).table_id == table


def test_who_makes_the_table_at_once_makes_one(tmp_path: Path) -> None:
    """Two processes that find none end with the same one."""
    for attempt in range(20 if EVERYTHING else 5):
        settings = load_settings(facts_url=str(tmp_path / f"facts {attempt}"))
        both = threading.Barrier(4)

        def make(_: int, both: threading.Barrier = both, settings: Settings = settings) -> UUID:
            both.wait()
            return open_facts(settings).table_id

        with ThreadPoolExecutor(4) as makers:
            tables = set(makers.map(make, range(4)))

        assert tables == {open_facts(settings).table_id}


def test_checksums_are_three_numbers_a_day(facts: Facts) -> None:
    """They are what plain arithmetic on the rows gives, for hashes of either sign."""
    hashes = [0, -1, 2**63 - 1, -(2**63), 2**32, -(2**32) - 1, 12345678901234]
    days = [NOON + number % 3 * DAY for number in range(len(hashes))]
    rows = [change(n, row_hash=hashes[n], created_at=day) for n, day in enumerate(days)]
    facts.absorb(frame(*rows, change(99)))
    facts.absorb(frame(change(99, gone="deleted")))
    wanted: dict[tuple[object, ...], tuple[int, ...]] = {}
    for row in [*rows, *NEIGHBOUR]:
        day = (row["organization_id"], row["created_date"])
        count, low, high = wanted.get(day, (0, 0, 0))
        wanted[day] = (count + 1, low + (row["row_hash"] & 4294967295), high + (row["row_hash"] >> 32))

    found = (
        checksums(facts.scan(), "created_date")
        .select("organization_id", "created_date", "rows", "low", "high")
        .rows()
    )

    assert len(found) == len(wanted)
    assert {row[:2]: row[2:] for row in found} == wanted


def test_days_of_organizations_are_found(facts: Facts) -> None:
    """A day of one organization brings nothing of another one, and no tombstone."""
    facts.absorb(frame(change(1), change(2), change(3, created_at=NOON + DAY)))
    facts.absorb(frame(change(2, gone="deleted")))
    days = [NOON.date(), (NOON + DAY).date(), NOON.date()]
    asked = pl.DataFrame({"organization_id": [id_of(1), id_of(9), id_of(7)], "created_date": days})

    found = facts.of_days(asked).collect()

    assert set(found["job_id"]) == {id_of(1), id_of(901)}
    assert facts.of_days(asked.clear()).collect().is_empty()


def test_changes_are_rows_before_and_after(facts: Facts) -> None:
    """Each commit past a version is a frame: new rows, and changed ones as they were and are."""
    facts.absorb(frame(change(1)))
    before = facts.version
    facts.absorb(frame(change(1, row_hash=-1), change(2)))
    facts.absorb(frame(change(2, gone="deleted")))

    commits = list(facts.changes_since(before))

    first, second = (
        set(changes.select("job_id", "_change_type", "row_hash", "gone").rows()) for changes in commits
    )
    edited = {(id_of(1), "update_preimage", 1, None), (id_of(1), "update_postimage", -1, None)}
    assert first == edited | {(id_of(2), "insert", 2, None)}
    assert second == {(id_of(2), "update_preimage", 2, None), (id_of(2), "update_postimage", 2, "deleted")}
    assert [set(changes["_commit_version"]) for changes in commits] == [{before + 1}, {before + 2}]
    assert list(facts.changes_since(facts.version)) == []


def test_tidying_changes_no_cell(facts: Facts) -> None:
    """A compaction makes no changes, and a purge only those of tombstones."""
    facts.absorb(frame(change(1), change(2)))
    facts.absorb(frame(change(1, gone="deleted")))
    for job in range(10, 13):
        facts.absorb(frame(change(job)))
    before, counting = facts.version, counted(facts)

    merged, purged = facts.compact(), facts.purge_tombstones(datetime.now(UTC) + DAY)

    assert merged > 1
    assert (purged, kept(facts, 1), counted(facts)) == (1, [], counting)
    changes = pl.concat(facts.changes_since(before))
    assert changes.select("job_id", "_change_type", "gone").rows() == [(id_of(1), "delete", "deleted")]


def test_only_old_tombstones_are_purged(facts: Facts) -> None:
    """A day of which anything was written since stays as it is until later."""
    facts.absorb(frame(change(1), change(2, created_at=NOON + DAY), change(3)))
    facts.absorb(frame(change(1, gone="deleted"), change(2, created_at=NOON + DAY, gone="deleted")))
    time.sleep(0.01)
    between = datetime.now(UTC)
    time.sleep(0.01)
    facts.absorb(frame(change(3, row_hash=-3)))

    assert facts.purge_tombstones(between - DAY) == 0
    assert facts.purge_tombstones(between) == 1
    assert (len(kept(facts, 1)), len(kept(facts, 2))) == (1, 0)
    assert facts.purge_tombstones(datetime.now(UTC) + MINUTE) == 1
    assert kept(facts, 1) == []


def test_how_long_a_change_has_been_waiting_is_known(facts: Facts) -> None:
    """It is the time of the first commit that changed a job; tidying waits for nobody."""
    shown = facts.version
    facts.absorb(frame(change(1), change(2)))
    first = facts.pending_since(shown)
    for job in range(3, 6):
        facts.absorb(frame(change(job)))
    facts.absorb(frame(change(1, gone="deleted")))
    current = facts.version
    facts.compact()
    facts.purge_tombstones(datetime.now(UTC) + DAY)
    make_old(facts)
    facts.vacuum(timedelta(days=1))

    assert facts.version > current + 2
    assert first is not None
    assert abs(first - datetime.now(UTC)) < MINUTE
    assert facts.pending_since(shown) == first
    assert facts.pending_since(current) is None
    assert facts.pending_since(facts.version) is None


def test_a_change_that_the_log_forgot_has_waited_for_ever(facts: Facts, settings: Settings) -> None:
    """Delta Lake drops old commits behind a checkpoint; the feed past them is lost."""
    for job in range(3):
        facts.absorb(frame(change(job)))
    DeltaTable(settings.facts_location).create_checkpoint()
    for version in range(3):
        (Path(settings.facts_location) / "_delta_log" / f"{version:020}.json").unlink()
    reopened = open_facts(settings)

    assert reopened.pending_since(1) == datetime.min.replace(tzinfo=UTC)
    assert reopened.pending_since(reopened.version) is None
    with pytest.raises(FeedLost):
        list(reopened.changes_since(1))
    assert reopened.rows == 3 + len(NEIGHBOUR)


def test_young_files_stay_for_the_feed(facts: Facts) -> None:
    """A file that was replaced lately stays, however long ago it was written."""
    for job in range(3):
        facts.absorb(frame(change(job)))
    facts.absorb(frame(change(0, gone="deleted")))
    make_old(facts, folder="created_date=*")
    facts.compact()

    removed = facts.vacuum(timedelta(days=7))

    assert removed == 0
    assert sum(changes.height for changes in facts.changes_since(0)) == len(NEIGHBOUR) + 5


@pytest.mark.parametrize("days", [1, 7, 20])
def test_old_files_go_with_the_feed(days: int, facts: Facts) -> None:
    """They stay for as long as is wanted, also less or longer than Delta Lake's own week.

    Without them the facts are as they were, and the feed is lost.
    """
    facts.absorb(frame(change(1)))
    facts.absorb(frame(change(1, row_hash=-1)))
    before = counted(facts)
    make_old(facts, folder="_change_data", days=10)

    removed = facts.vacuum(timedelta(days=days))

    assert (removed > 0) == (days < 10)
    assert counted(facts) == before
    with pytest.raises(FeedLost) if removed else nullcontext():
        list(facts.changes_since(1))


def test_a_checkpoint_does_not_forget_when_a_file_was_replaced(facts: Facts, settings: Settings) -> None:
    """A file written long ago and replaced ten days ago stays where files are kept for twenty days."""
    for job in range(3):
        facts.absorb(frame(change(job)))
    facts.compact()
    log = Path(settings.facts_location) / "_delta_log" / f"{facts.version:020}.json"
    now, then = str(int(time.time()))[:5], str(int(time.time()) - 10 * 86_400)[:5]
    log.write_text(log.read_text().replace(f'"deletionTimestamp":{now}', f'"deletionTimestamp":{then}'))
    make_old(facts, days=30)
    DeltaTable(settings.facts_location).create_checkpoint()
    reopened = open_facts(settings)

    assert reopened.vacuum(timedelta(days=20)) == 0
    assert reopened.vacuum(timedelta(days=5)) > 0


@pytest.mark.parametrize("few_files", [50, -1])
def test_a_dimension_that_an_earlier_version_did_not_keep_is_added_in_place(
    few_files: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many files or few it is NULL until a row is read again, also where nothing else of it changed.

    The table stays where it is, and nothing is set aside.
    """
    monkeypatch.setattr(delta, "_FEW_FILES", few_files)
    older = open_facts(settings)
    older.fill(frame(change(1), change(2)))
    region = Dimension("region_id", "text", "region", "all", "The region.", "none")
    fact = replace(JOBS.fact, columns=JOBS.fact.columns | {"region_id": "text"})
    wider = replace(JOBS, fact=fact, dimensions=(*JOBS.dimensions, region))
    facts = open_facts(settings, wider.fact)
    unread, incomplete_since = regions(facts), facts.complete_since

    for _ in range(2):
        facts.add_columns()
    rows = frame(change(1), change(3)).with_columns(region_id=pl.lit("north"))
    absorbed = facts.absorb(rows.select(*wider.fact.stored_columns))
    facts.compact()

    reopened = open_facts(settings, wider.fact)
    assert (unread, incomplete_since) == ({1: None, 2: None}, 2)
    assert absorbed == Absorbed(inserted=1, updated=1)
    assert (facts.complete_since, reopened.complete_since) == (2, 2)
    assert regions(reopened) == {1: "north", 2: None, 3: "north"}
    assert reopened.table_id == older.table_id
    assert find_set_aside(settings.facts_location) == {}


def said(job: int, day: int, value: int, gone: str | None) -> Row:
    """A job as it may be handed over."""
    columns = {"created_at": NOON + day * DAY, "row_hash": 100 * value + day, "status": f"S{value}"}
    return change(job, gone=gone, **columns)


WHY = st.sampled_from([None, None, "deleted", "retried", "edited"])
SAID = st.builds(said, st.integers(0, 5), st.integers(0, 2), st.integers(0, 2), WHY)
HAND_OVER = st.lists(SAID, min_size=1, max_size=5, unique_by=lambda row: row["job_id"])


@pytest.mark.parametrize("few", [0, 50_000])
@given(history=st.lists(HAND_OVER, min_size=1, max_size=6))
@budget(max_examples=25 if EVERYTHING else 10, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_history_ends_with_what_was_last_said(
    history: list[list[Row]], few: int, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job counts as it was last handed over, once; the feed tells what each hand-over changed.

    Whether few facts are read once, or of many those of a day first.
    """
    monkeypatch.setattr(fact_table, "_FEW_FACTS", few)
    facts = open_facts(load_settings(facts_url=str(tmp_path_factory.mktemp("facts"))))
    last: dict[bytes, Row] = {}
    for rows in history:
        before, version = counted(facts), facts.version
        facts.absorb(frame(*rows))
        # What has the hash of what is there is the same row, whatever else it says.
        for row in rows:
            last[row["job_id"]] = row
        wanted = counted_rows(row for row in last.values() if row["gone"] is None)
        assert counted(facts) == wanted
        assert replayed(before, facts.changes_since(version)) == wanted
        tidied = facts.version
        assert facts.absorb(frame(*rows)) == Absorbed()
        assert facts.version == tidied


def counted(facts: Facts) -> set[tuple[object, ...]]:
    """The rows that count; a job that counted twice would be there twice, or fail."""
    rows = facts.scan().collect()
    assert rows["job_id"].is_unique().all()
    return counted_rows(rows.iter_rows(named=True))


def counted_rows(rows: Iterable[Row]) -> set[tuple[object, ...]]:
    """The same of rows written by hand."""
    return {tuple(sorted((key, value) for key, value in row.items() if key != "gone")) for row in rows}


def kept(facts: Facts, job: int) -> list[Row]:
    """Every row of a job in the files, tombstones too."""
    table = pl.DataFrame(DeltaTable(facts._location).scan())
    return table.filter(pl.col("job_id") == id_of(job)).to_dicts()


def replayed(rows: set[tuple[object, ...]], commits: Iterable[pl.DataFrame]) -> set[tuple[object, ...]]:
    """What a reader of the feed makes of the rows that counted before."""
    for changes in commits:
        counting = changes.filter(pl.col("gone").is_null())
        old = pl.col("_change_type").is_in(["update_preimage", "delete"])
        both = (counting.filter(kind).drop("_change_type", "_commit_version") for kind in (old, ~old))
        left, entered = (counted_rows(rows.to_dicts()) for rows in both)
        assert left <= rows
        rows = rows - left | entered
    return rows


def make_old(facts: Facts, *, folder: str = "*", days: int = 8) -> None:
    """Let days pass for the files of a folder."""
    then = time.time() - days * 86_400
    for file in Path(facts._location).glob(f"{folder}/**/*.parquet"):
        os.utime(file, (then, then))


def regions(facts: Facts) -> dict[int, str | None]:
    """The region of each job by its number."""
    rows = facts.scan().select("job_id", "region_id").collect().iter_rows()
    return {int.from_bytes(job): region for job, region in rows}

"""Facts that were damaged are called so, whatever the damage; other trouble is not blamed on them."""

import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.errors import (
    FactsConflict,
    FactsNewer,
    FactsNotReadable,
    FactsNotWritten,
    FactsUnusable,
    FeedLost,
    StoreUnreachable,
)
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.folder import find_set_aside, newest_version, set_aside
from pipelines.facts.health import examine, reading_facts
from pipelines.frames import schema_of
from pipelines.settings import Settings, load_settings
from pipelines.subjects.jobs import JOBS
from tests.support.fact_changes import change, frame, id_of
from tests.support.planting import DAY, NOON

_CHANCES = [(job, random.Random(job)) for job in range(1000, 1500)]
ROWS = [change(job, workflow_id=of.randbytes(16), row_hash=of.getrandbits(63)) for job, of in _CHANCES]

Damage = Callable[[Path], object]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose facts lie in a folder with spaces in its name."""
    return load_settings(facts_url=str(tmp_path / "a folder of facts"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of facts with five commits: made, filled, and changed three times."""
    settings = load_settings(facts_url=str(tmp_path_factory.mktemp("made") / "facts"))
    facts = open_facts(settings)
    facts.fill(frame(*ROWS))
    for job in range(3):
        facts.absorb(frame(change(job, created_at=NOON + DAY), change(1000 + job, row_hash=-1 - job)))
    return Path(settings.facts_location)


@pytest.fixture
def folder(settings: Settings, made: Path) -> Path:
    """The same, times of modification included, for one test to damage."""
    return Path(shutil.copytree(made, settings.facts_location))


def largest(pattern: str) -> Callable[[Path], Path]:
    """Which of the files in use is damaged: the one that holds most."""

    def find(folder: Path) -> Path:
        used = {Path(uri).name for uri in DeltaTable(str(folder)).file_uris()}
        files = [file for file in folder.glob(pattern) if "_change_data" in pattern or file.name in used]
        return max(files, key=lambda file: file.stat().st_size)

    return find


DATA, FEED = largest("created_date=*/*.parquet"), largest("_change_data/*/*.parquet")


def commit(folder: Path, version: int) -> Path:
    """The file of a commit."""
    return folder / "_delta_log" / f"{version:020}.json"


def hint(folder: Path) -> Path:
    """The file that says which checkpoint is the last."""
    return folder / "_delta_log" / "_last_checkpoint"


def checkpoint(folder: Path) -> Path:
    """The file of the checkpoint."""
    return next((folder / "_delta_log").glob("*.checkpoint.parquet"))


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip(file: Path, times: int = 200) -> None:
    """Change bytes all over the file; its size stays."""
    content, where = bytearray(file.read_bytes()), random.Random(1)
    for _ in range(times):
        content[where.randrange(4, len(content) - 8)] ^= where.randrange(1, 256)
    file.write_bytes(content)


def checkpointed(damage: Damage) -> Damage:
    """The same damage to a table that has a checkpoint."""

    def act(folder: Path) -> None:
        DeltaTable(str(folder)).create_checkpoint()
        damage(folder)

    return act


SEEN_AT_ONCE: dict[str, Damage] = {
    "a file is gone": lambda folder: DATA(folder).unlink(),
    "a file is cut short": lambda folder: halve(DATA(folder)),
    "a file is empty": lambda folder: os.truncate(DATA(folder), 0),
    "a file is another": lambda folder: DATA(folder).write_text("not a file of facts"),
    "the first commit is gone": lambda folder: commit(folder, 0).unlink(),
    "a commit between is gone": lambda folder: commit(folder, 2).unlink(),
    "a commit is cut short": lambda folder: halve(commit(folder, 3)),
    "the last commit is cut short": lambda folder: halve(commit(folder, 4)),
    "the last commit is empty": lambda folder: commit(folder, 4).write_text(""),
    "the last commit is zeros": lambda folder: commit(folder, 4).write_bytes(bytes(2000)),
    "the last commit is no commit": lambda folder: commit(folder, 4).write_text("this is no commit"),
    "the last commit is empty, but for a checkpoint": checkpointed(lambda at: commit(at, 4).write_text("")),
    "a checkpoint is gone": checkpointed(lambda folder: checkpoint(folder).unlink()),
    "a checkpoint is cut short": checkpointed(lambda folder: halve(checkpoint(folder))),
    "the hint points nowhere": lambda folder: hint(folder).write_text('{"version": 77, "size": 5}'),
}


@pytest.mark.parametrize("name", SEEN_AT_ONCE)
def test_damage_is_seen_before_anything_is_read(name: str, settings: Settings, folder: Path) -> None:
    """Opening says so, and asking for the newest version where the log is damaged.

    Set aside, the facts start anew at the same place, and nothing was thrown away.
    """
    SEEN_AT_ONCE[name](folder)
    before = files(folder)

    with pytest.raises(FactsUnusable, match=f"rebuilt from the source.*{folder.name}"):
        open_facts(settings)
    if "commit" in name or "checkpoint" in name:
        with pytest.raises(FactsUnusable, match=f"rebuilt from the source.*{folder.name}"):
            newest_version(settings.facts_location)

    aside = set_aside(settings.facts_location)
    assert aside is not None
    assert files(aside) == before
    anew = open_facts(settings)
    assert (anew.version, anew.rows, anew.empty) == (0, 0, True)
    anew.fill(frame(*ROWS))
    assert open_facts(settings).rows == len(ROWS)


def read_late(facts: Facts) -> None:
    """Read a frame elsewhere: whoever reads it watches over it."""
    with reading_facts(facts._location):
        facts.scan().collect()


WAYS_TO_READ: dict[str, Callable[[Facts], object]] = {
    "frame": read_late,
    "edit": lambda facts: facts.absorb(frame(change(1003, row_hash=0))),
    "deletion": lambda facts: facts.absorb(frame(change(1003, gone="deleted"))),
    "new job": lambda facts: facts.absorb(frame(change(5000))),
    "rows by organization": lambda facts: facts.rows_by_organization(),
}


@pytest.mark.parametrize("act", WAYS_TO_READ.values(), ids=WAYS_TO_READ)
@pytest.mark.parametrize("damage", [flip, halve, Path.unlink], ids=["flipped", "cut short", "gone"])
def test_damage_is_met_while_reading(
    damage: Damage, act: Callable[[Facts], object], settings: Settings, folder: Path
) -> None:
    """Files that were damaged after the table was opened, or whose size tells nothing, are found in use."""
    facts = open_facts(settings)
    damage(DATA(folder))
    before = sorted(file.name for file in (folder / "_delta_log").iterdir())

    with pytest.raises(FactsUnusable):
        act(facts)

    assert sorted(file.name for file in (folder / "_delta_log").iterdir()) == before


def test_damage_is_not_tidied_away(settings: Settings, folder: Path) -> None:
    """Small files are not merged into one that looks sound."""
    open_facts(settings).fill(frame(change(5000), change(5001)))
    facts = open_facts(settings)
    flip(DATA(folder))

    with pytest.raises(FactsUnusable):
        facts.compact()

    assert DeltaTable(str(folder)).version() == facts.version


def test_facts_that_vanish_are_unusable(settings: Settings, folder: Path) -> None:
    """A folder that somebody deletes under a run is no success, and there is nothing to set aside."""
    facts = open_facts(settings)
    shutil.rmtree(folder)

    with pytest.raises(FactsUnusable):
        facts.rows_by_organization()
    with pytest.raises(FactsUnusable):
        facts.absorb(frame(change(1003, row_hash=0)))

    assert set_aside(settings.facts_location) is None
    assert open_facts(settings).table_id != facts.table_id


FEED_LOST: dict[str, Damage] = {
    "all gone": lambda folder: shutil.rmtree(folder / "_change_data"),
    "a file gone": lambda folder: FEED(folder).unlink(),
    "cut short": lambda folder: halve(FEED(folder)),
    "empty": lambda folder: os.truncate(FEED(folder), 0),
    "flipped": lambda folder: flip(FEED(folder)),
    "commit gone": checkpointed(lambda folder: commit(folder, 3).unlink()),
}


@pytest.mark.parametrize("name", FEED_LOST)
def test_a_damaged_feed_is_lost_and_the_facts_are_not(name: str, settings: Settings, folder: Path) -> None:
    """Earlier changes cannot be read any more; the rows can, and so can changes from now on."""
    FEED_LOST[name](folder)
    facts = open_facts(settings)

    with pytest.raises(FeedLost):
        list(facts.changes_since(1))

    assert facts.rows == len(ROWS) + 3
    before = facts.version
    facts.absorb(frame(change(7)))
    assert [changes["job_id"].to_list() for changes in facts.changes_since(before)] == [[id_of(7)]]


def test_a_torn_hint_does_no_harm(settings: Settings, folder: Path) -> None:
    """The log can be read without it."""
    hint(folder).write_text("garbage")

    facts = open_facts(settings)

    assert facts.rows == len(ROWS) + 3
    assert sum(changes.height for changes in facts.changes_since(1)) == 9


def test_a_lost_last_commit_is_an_earlier_version(settings: Settings, folder: Path) -> None:
    """Nothing tells it from a table that never had it, but that its version was published; it goes on."""
    version, table_id = open_facts(settings).version, open_facts(settings).table_id
    commit(folder, version).unlink()

    facts = open_facts(settings)

    assert (facts.version, facts.table_id) == (version - 1, table_id)
    facts.absorb(frame(change(1003, row_hash=0)))
    assert open_facts(settings).version == version


def test_a_lost_log_is_a_lost_table(settings: Settings, folder: Path) -> None:
    """Files that no log speaks of are no facts."""
    table_id = open_facts(settings).table_id
    shutil.rmtree(folder / "_delta_log")

    facts = open_facts(settings)

    assert facts.table_id != table_id
    assert facts.empty
    assert open_facts(settings).empty
    facts.fill(frame(*ROWS))
    assert open_facts(settings).rows == len(ROWS)


def test_the_table_of_another_version_is_set_aside(settings: Settings) -> None:
    """Facts without the reason why a job is gone can say nothing of it; they are rebuilt."""
    older = pl.DataFrame(schema=schema_of(JOBS.fact.columns) | {"created_date": pl.Date()})
    write_deltalake(settings.facts_location, older, partition_by=["created_date"])

    with pytest.raises(FactsUnusable, match="columns of another version"):
        open_facts(settings)

    assert set_aside(settings.facts_location)
    assert open_facts(settings).empty


def test_sound_facts_are_not_blamed(settings: Settings, folder: Path) -> None:
    """An error that is not theirs passes as what it is, and the facts stay where they are."""
    facts = open_facts(settings)

    with pytest.raises(OSError, match="No space left"), reading_facts(settings.facts_location):
        raise OSError(28, "No space left on device")
    with pytest.raises(pl.exceptions.ColumnNotFoundError), reading_facts(settings.facts_location):
        facts.scan().select("no such column").collect()
    with pytest.raises(KeyError), reading_facts(settings.facts_location):
        raise KeyError

    assert examine(settings.facts_location) is None
    assert folder.is_dir()


@pytest.mark.usefixtures("folder")
def test_want_of_open_files_is_no_damage(settings: Settings) -> None:
    """Sound facts are not put aside because the machine was short of something, on opening or reading."""
    facts = open_facts(settings)

    with no_more_files(), pytest.raises(FactsNotReadable, match="they are not damaged"):
        open_facts(settings)
    with no_more_files(), pytest.raises(FactsNotReadable):
        facts.rows_by_organization()

    assert open_facts(settings).rows == len(ROWS) + 3


def test_a_store_that_is_out_of_reach_is_no_damage() -> None:
    """The error does not ask to delete facts that could not be looked at, and no key is shown."""
    nowhere = "s3://bucket/facts?key=s3cret"
    said = OSError("Generic S3 error: Error performing GET: connection refused")

    with pytest.raises(StoreUnreachable) as refused, reading_facts(nowhere):
        raise said

    assert "s3cret" not in str(refused.value)


def test_facts_that_cannot_be_written_stay_as_they_were(settings: Settings, folder: Path) -> None:
    """No room is neither damage nor a conflict."""
    facts = open_facts(settings)
    shutil.rmtree(folder / "_change_data")
    (folder / "_change_data").write_text("no folder can be made here")

    with pytest.raises(FactsNotWritten, match="nothing was lost"):
        facts.absorb(frame(change(1003, row_hash=0)))

    (folder / "_change_data").unlink()
    again = open_facts(settings)
    assert again.version == 4
    again.absorb(frame(change(1003, row_hash=0)))
    assert again.version == 5
    with pytest.raises(FactsConflict):
        facts.absorb(frame(change(1003, row_hash=0)))


def test_facts_of_a_newer_version_are_left_alone(settings: Settings) -> None:
    """An older version of the program refuses them by name, and nothing is lost."""
    newer = pl.DataFrame(schema=schema_of(JOBS.fact.stored_columns) | {"attempt": pl.Int64()})
    write_deltalake(settings.facts_location, newer, partition_by=["created_date"])

    with pytest.raises(FactsNewer, match=r"newer execution-metrics.*attempt\)"):
        open_facts(settings)


def test_what_was_set_aside_is_found(settings: Settings, folder: Path) -> None:
    """It can be looked into, and its name says since when; other folders beside the facts are not ours."""
    for name in (".unusable-mine", ".old", "2"):
        folder.with_name(f"{folder.name}{name}").mkdir()
    first = set_aside(settings.facts_location)
    open_facts(settings)
    between = datetime.now(UTC)
    open_facts(settings).fill(frame(change(1)))
    second = set_aside(settings.facts_location)

    found = find_set_aside(settings.facts_location)

    assert list(found) == [first, second]
    assert found[first] < between < found[second]


def test_an_object_store_cannot_be_set_aside() -> None:
    """Nothing is renamed there; the message says where they are, without the key to it."""
    settings = load_settings(facts_url="s3://bucket/facts?key=s3cret")

    with pytest.raises(FactsUnusable, match="s3://bucket/facts") as refused:
        set_aside(settings.facts_location)

    assert "s3cret" not in str(refused.value)
    assert find_set_aside(settings.facts_location) == {}


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open nothing."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def files(folder: Path) -> dict[Path, int]:
    """Every file with its size."""
    return {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}

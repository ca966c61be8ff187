"""Whatever a folder, a disk, a store or the machine refuses with is one sentence, and no traceback."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest
from psycopg import Connection

from pipelines.errors import EngineFailed, ProcessExhausted
from pipelines.postgres.failures import meaning_of
from pipelines.publish.batches import Batch, bisect
from tests.postgres.cli.conftest import PROGRAM, Execmetrics
from tests.support.planting import new_id, plant_job, plant_tenant
from tests.support.s3_bucket import bucket_of_its_own

# Below a folder of the test: what is made there, what is told to be the home, and what is said of it.
HOMES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a file": (Path.touch, "", "Not a directory"),
    "below a file": (Path.touch, "below/it", "Not a directory"),
    "a loop": (lambda home: home.symlink_to(home), "", "Too many levels of symbolic links"),
    "too long a name": (Path.mkdir, "x" * 300, "File name too long"),
    "too long a path": (Path.mkdir, "x/" * 2500, "File name too long"),
}


@pytest.fixture(autouse=True)
def planted(source: Connection) -> None:
    """Two tenants with a job each, so that there is something to write."""
    for _ in range(2):
        plant_job(source, plant_tenant(source))


@pytest.mark.parametrize("home", HOMES)
def test_a_home_that_cannot_be_used_is_named(
    home: str, execmetrics: Execmetrics, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Something else is in its place, or its name leads nowhere; nothing is put aside for it."""
    make, below, said = HOMES[home]
    make(tmp_path / "home")
    monkeypatch.setenv("EXECMETRICS_HOME", str(tmp_path / "home" / below))

    ended = execmetrics("refresh")

    assert ended.exit_code == 2
    assert_one_sentence(ended.stderr, "A folder or file cannot be used", said, "job_facts")


def test_a_disk_that_takes_no_more_is_named(execmetrics: Execmetrics) -> None:
    """What was committed stays, and the next run goes on."""
    with limited(resource.RLIMIT_FSIZE, 0):
        ended = execmetrics("refresh")

    assert ended.exit_code == 1
    assert_one_sentence(ended.stderr, "The disk has no room left", "File too large")
    assert execmetrics("refresh").exit_code == 0


def test_a_library_that_panics_for_want_of_open_files_ends_in_a_sentence(execmetrics: Execmetrics) -> None:
    """It complains on stderr before that, and nothing of ours is shown."""
    assert execmetrics("refresh").exit_code == 0

    # In a process of its own, because such a library is of no use afterwards.
    ended = subprocess.run(
        [PROGRAM, "status"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12)),
        env=os.environ | {"RUST_BACKTRACE": "0"},
    )

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ".py" not in ended.stderr
    assert_one_sentence(ended.stderr.splitlines()[-1], "no more memory, open files or threads")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of a bucket."""
    with bucket_of_its_own() as address:
        yield address


# Which key asks for which facts, and what is said of it; the last two ask for long.
STORES = {
    "unknown key": ("unknown", "s3://bucket/facts", "InvalidAccessKeyId"),
    "no rights": ("forbidden", "s3://bucket/facts", "AccessDenied"),
    "no bucket": ("reader", "s3://nowhere/facts", "NoSuchBucket"),
    "no such store": ("reader", "s9://bucket/facts", "Unknown scheme: s9"),
    "no address": ("reader", "s3://", "Unable to recognise URL"),
}


@pytest.mark.parametrize("store", STORES)
def test_a_store_that_refuses_is_named(
    store: str, execmetrics: Execmetrics, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the code of its answer; nobody is told to delete what could not even be looked at."""
    key, url, said = STORES[store]
    use_store(monkeypatch, bucket, key, url)

    ended = execmetrics("refresh")

    assert ended.exit_code == 2
    assert_one_sentence(ended.stderr, "The object store refuses us", f"({url}", said)


@pytest.mark.only_in_everything
@pytest.mark.parametrize(("key", "said"), [("reader", "Connection refused"), ("hurried", "SlowDown")])
def test_a_store_that_does_not_answer_is_named(
    key: str, said: str, execmetrics: Execmetrics, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked ten times."""
    use_store(monkeypatch, bucket if key == "hurried" else "http://127.0.0.1:1", key, "s3://bucket/facts")

    ended = execmetrics("status")

    assert ended.exit_code == 2
    assert_one_sentence(ended.stderr, "The object store does not answer", said)


def test_facts_live_in_a_bucket(
    execmetrics: Execmetrics, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below folders that look like partitions, and with spaces in their names."""
    use_store(monkeypatch, bucket, "reader", "s3://bucket/env=prod/a folder of/facts")

    assert execmetrics("refresh").exit_code == 0
    assert execmetrics("verify").exit_code == 0


def test_want_of_memory_is_named() -> None:
    """Memory runs out in Python, or in the engine that computes."""
    with pytest.raises(duckdb.Error) as full:
        duckdb.connect(config={"memory_limit": "5MB", "temp_directory": ""}).sql(
            "SELECT list(number) FROM range(10000000) numbers(number)"
        ).fetchall()

    for failure in (full.value, MemoryError()):
        assert isinstance(meaning_of(failure), ProcessExhausted)


def test_a_panic_quotes_nobodys_row() -> None:
    """Its first line is told, without what stands in quotes."""
    meant = meaning_of(pl.exceptions.PanicException("cannot cast 'Müller'\nat line 7"))

    assert isinstance(meant, EngineFailed)
    assert str(meant).endswith("(cannot cast …)")


def test_a_panic_over_one_organization_stops_that_one_alone() -> None:
    """It is found by halving, as whatever else fails for one; Ctrl-C ends the run."""
    organizations = tuple(new_id() for _ in range(5))
    published, given_up = [], []

    def publish(batch: Batch) -> None:
        if organizations[3] in batch:
            raise pl.exceptions.PanicException("no")
        published.extend(batch)

    def interrupted(_: Batch) -> None:
        raise KeyboardInterrupt

    arguments = {"overtaken": lambda _: False, "give_up": lambda key, _: given_up.append(key)}
    bisect(organizations, publish, **arguments)

    assert (given_up, set(published)) == ([organizations[3]], {*organizations} - {organizations[3]})
    with pytest.raises(KeyboardInterrupt):
        bisect(organizations, interrupted, **arguments)


def assert_one_sentence(stderr: str, *words: str) -> None:
    """One line, with all of these words."""
    (line,) = stderr.splitlines()
    assert [word for word in words if word not in line] == []


def use_store(monkeypatch: pytest.MonkeyPatch, address: str, key: str, url: str) -> None:
    """Have commands keep their facts there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("EXECMETRICS_FACTS_URL", url)


@contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    """Allow this process so much of something."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)

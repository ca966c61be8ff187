"""A hot standby is a source like its primary, as far as it has caught up."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection

from pipelines.errors import SourceConflict
from pipelines.frames import uuids
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.grants import grants
from pipelines.runs.execution_metadata import sync_metadata
from pipelines.runs.refresh import reconcile_created, refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings, load_settings
from pipelines.source.selections import Swept
from pipelines.source.snapshot import Moment, SourceSnapshot, open_source
from tests.conftest import home_for_servers, system_15
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import cells, change_job, plant_job, plant_long_jobs, plant_tenant
from tests.support.sampling import EVERYTHING
from tests.support.standby_server import Pair, replicated, wait_until

STREAMED = "while rows are streamed"

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

_WITH_15 = pytest.mark.skipif(system_15() is None, reason="PostgreSQL 15 is not installed here")

_KINDS = ["embedded", *([pytest.param("system", marks=_WITH_15)] if EVERYTHING else [])]

# Where the programs are of each kind of server.
PROGRAMS = {"embedded": None, "system": system_15()}

Replicated = Callable[[str], Pair]


@pytest.fixture(scope="module")
def running(pytestconfig: pytest.Config) -> Iterator[Replicated]:
    """A function that starts a primary and its standby, `embedded` or `system`, unless they run."""
    with ExitStack() as pairs:

        @cache
        def started(kind: str) -> Pair:
            home = pairs.enter_context(home_for_servers(pytestconfig))
            return pairs.enter_context(replicated(home, programs=PROGRAMS[kind]))

        yield started


@pytest.fixture(params=_KINDS)
def pair(request: pytest.FixtureRequest, running: Replicated) -> Pair:
    """A primary and its standby, of either version, with a database of the test's own."""
    return running(request.param).with_new_database()


@pytest.fixture(params=_KINDS)
def fresh_pair(request: pytest.FixtureRequest, embedded_home: Path) -> Iterator[Pair]:
    """A primary and its standby that no other test is to find again."""
    with replicated(embedded_home, programs=PROGRAMS[request.param]) as pair:
        yield pair


@pytest.fixture
def settings(pair: Pair, tmp_path: Path) -> Settings:
    """Settings that matter little here."""
    return load_settings(database_url=pair.primary, home=tmp_path)


@pytest.fixture
def source(pair: Pair) -> Iterator[Connection]:
    """A connection to the primary that commits every statement."""
    with psycopg.connect(pair.primary, autocommit=True) as connection:
        yield connection


def test_a_standby_shows_what_its_primary_shows(pair: Pair, settings: Settings, source: Connection) -> None:
    """To a role that may read the contract and no more: rows, checksums, and a moment of the same history."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    jobs = [plant_job(source, who) for who in (tenant, neighbour, tenant)]
    source.execute("CREATE ROLE reader LOGIN")
    reader, *_ = grants(settings, source_reader="reader", writer="w", dashboard_reader="d")
    for statement in reader.statements:
        source.execute(statement)
    pair.catch_up()

    primary, standby = (everything(f"{url}&user=reader", settings) for url in (pair.primary, pair.standby))

    assert standby == primary
    assert standby[0] == sorted(jobs)
    assert moment(pair.standby, settings).extracted_at > datetime.now(UTC) - timedelta(minutes=1)


def test_the_metadata_of_a_standby_is_left_alone(pair: Pair, settings: Settings, source: Connection) -> None:
    """Nothing can be written there; whoever syncs the primary writes it, and it comes by itself."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))
    pair.catch_up()

    report = sync_metadata(Run(Databases(pair.primary, pair.standby), settings))

    assert report.left_alone
    assert "is a standby" in report.left_alone


def test_what_was_open_on_the_primary_is_read_from_the_standby_later(
    pair: Pair, settings: Settings, source: Connection
) -> None:
    """The standby's horizon is that of its primary's transactions, so none of them is passed over."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    late = plant_job(source, tenant)
    with psycopg.connect(pair.primary) as open_one:
        open_one.execute("UPDATE orchestration.jobs SET status = 'FAILED' WHERE id = %s", [late])
        other = plant_job(source, tenant)
        pair.catch_up()
        with open_source(pair.standby, settings) as before:
            horizon = before.moment.horizon
            assert other in ids(before, Swept({tenant.organization: horizon}, only_listed=True))
    pair.catch_up()

    with open_source(pair.standby, settings) as now:
        changed = ids(now, Swept({tenant.organization: horizon}, only_listed=True))

    assert changed == [late, other]


def test_a_standby_that_is_behind_says_so(pair: Pair, settings: Settings, source: Connection) -> None:
    """Its moment is when the last transaction ended that it replayed, until it has replayed all of them."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    pair.catch_up()
    with psycopg.connect(pair.standby, autocommit=True) as standby:
        standby.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: standby.execute("SELECT pg_get_wal_replay_pause_state() = 'paused'").fetchone()[0])
        before = clock(source)
        unseen = plant_job(source, tenant)
        received = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
        wait_until(lambda: standby.execute(received).fetchone()[0])

        with open_source(pair.standby, settings) as behind:
            assert unseen not in ids(behind, Swept({}))
            assert behind.moment.extracted_at <= before
        standby.execute("SELECT pg_wal_replay_resume()")

    pair.catch_up()
    with open_source(pair.standby, settings) as again:
        assert unseen in ids(again, Swept({}))
        assert again.moment.extracted_at > before


def test_a_standby_that_is_cut_off_does_not_claim_the_present(
    pair: Pair, settings: Settings, source: Connection
) -> None:
    """It has replayed all that it received, and receives nothing: its data ends where its primary left it."""
    plant_job(source, plant_tenant(source))
    pair.catch_up()
    with pair.cut_off():
        before = clock(source)

        assert moment(pair.standby, settings).extracted_at <= before


def test_a_promotion_begins_another_history_at_once(fresh_pair: Pair, tmp_path: Path) -> None:
    """The new primary may lack what the old one showed: nobody goes on reading where they were."""
    settings = load_settings(home=tmp_path)
    with psycopg.connect(fresh_pair.primary, autocommit=True) as source:
        plant_job(source, plant_tenant(source))
    fresh_pair.catch_up()
    before = {moment(url, settings).identity for url in (fresh_pair.primary, fresh_pair.standby)}
    with psycopg.connect(fresh_pair.standby, autocommit=True) as standby:
        standby.execute("SELECT pg_promote()")

        promoted = moment(fresh_pair.standby, settings)
        lagging = standby.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone()

    assert lagging == (1,), "the control file does not know of it yet"
    assert len(before) == 1
    assert promoted.identity not in before
    assert promoted.extracted_at > datetime.now(UTC) - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("pair", "when"),
    [
        *(("embedded", when) for when in ("between two statements", STREAMED, "while one waits")),
        *([pytest.param("system", STREAMED, marks=_WITH_15)] if EVERYTHING else []),
    ],
    indirect=["pair"],
)
def test_a_read_that_is_in_the_way_of_the_standby_can_be_tried_again(
    when: str, pair: Pair, settings: Settings, source: Connection
) -> None:
    """It is named for what it is, whatever the server does to get rid of it, and it works the next time."""
    tenant = plant_tenant(source)
    job = plant_job(source, tenant)
    plant_long_jobs(source, tenant)
    pair.catch_up()

    def conflict() -> None:
        source.execute("DELETE FROM orchestration.jobs WHERE status = 'PENDING'")
        source.execute("VACUUM orchestration.jobs")
        # Not until it has caught up: PostgreSQL 15 waits for a reader that takes no rows meanwhile.
        written = pair.written()
        with suppress(AssertionError):
            wait_until(lambda: pair.has_replayed(written), patience_s=1)

    with pair.impatient(), pytest.raises(SourceConflict, match="max_standby_streaming_delay"):
        in_the_way(pair.standby, settings, when, conflict)

    pair.catch_up()
    with open_source(pair.standby, settings) as again:
        assert ids(again, Swept({})) == [job]


def test_a_whole_refresh_works_through_a_standby(pair: Pair, source: Connection, tmp_path: Path) -> None:
    """Aggregates on the primary, jobs read from the standby: what it has replayed is in the table."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, neighbour)
    databases = Databases(analytics_url=pair.primary, source_url=pair.standby)
    settings = load_settings(home=tmp_path / "home")
    pair.catch_up()
    first = refresh(Run(databases, settings))
    change_job(source, job, status="FAILED")
    pair.catch_up()

    second = refresh(Run(databases, settings))

    assert (first.facts_inserted, second.facts_updated, second.facts_inserted) == (2, 1, 0)
    assert differences(cells(source), cells_by_sql(source)) == []
    assert verify(Run(databases, settings)).differences == ()
    reconciled = reconcile_created(Run(databases, settings))
    assert (reconciled.cells_written, reconciled.cells_deleted) == (0, 0)


def in_the_way(url: str, settings: Settings, when: str, conflict: Callable[[], None]) -> None:
    """Read from the standby while it has to forget what is read."""
    with open_source(url, settings) as snapshot:
        if when == "between two statements":
            snapshot.organizations()
            conflict()
            snapshot.organizations()
        elif when == STREAMED:
            for _ in snapshot.jobs(Swept({})):
                conflict()
        else:
            with ThreadPoolExecutor(1) as other:
                other.submit(lambda: [time.sleep(0.5), conflict()])
                snapshot.rows_of("SELECT count(*) FROM orchestration.jobs, pg_sleep(60)")


def everything(url: str, settings: Settings) -> tuple[Any, ...]:
    """What a server shows, but for the time."""
    with open_source(url, settings) as snapshot:
        sums = snapshot.checksums(earliest=EARLIEST, tolerance=timedelta(days=1)).rows()
        organizations, seen = sorted(snapshot.organizations().rows()), snapshot.moment
        return ids(snapshot, Swept({})), sorted(sums), organizations, seen.horizon, seen.identity


def ids(snapshot: SourceSnapshot, asked: Swept) -> list[UUID]:
    """The jobs that are read."""
    return sorted(job for frame in snapshot.jobs(asked) for job in uuids(frame["job_id"]))


def moment(url: str, settings: Settings) -> Moment:
    """What a server says of itself."""
    with open_source(url, settings) as snapshot:
        return snapshot.moment


def clock(source: Connection) -> datetime:
    """The primary's time."""
    return source.execute("SELECT clock_timestamp()").fetchone()[0]

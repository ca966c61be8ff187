"""A connection that goes from request to request takes nothing of one tenant to the next."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from pipelines.errors import AnalyticsQueryError, DatabaseUnreachable, InvalidSetting
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.pool import ReadingPool, reader_url
from pipelines.query.tenant import Tenant as Admitted
from pipelines.query.tenant import admit
from pipelines.settings import load_settings
from tests.conftest import with_database
from tests.postgres.api.conftest import Api
from tests.support.planting import DAY, NOON, Tenant

COUNT = "SELECT count(*), count(DISTINCT organization_id) FROM analytics.aggregate_metrics"


@pytest.fixture
def mine(shared: Api) -> Admitted:
    """The first tenant, proven."""
    return admit(shared.tenants[0].organization)


def test_tenants_take_turns_and_see_themselves(shared: Api) -> None:
    """Many requests of three tenants at once, over fewer connections: each sees its own rows only."""

    def seen(tenant: Tenant) -> tuple[Tenant, int, int]:
        with shared.pool.reading_as(admit(tenant.organization)) as connection:
            rows, tenants = connection.execute(COUNT).fetchone()
            total = AnalyticsRepository(connection, admit(tenant.organization))
            found = total.get_total(since=NOON - DAY, until=NOON + 3 * DAY)
        assert rows > 0
        return tenant, tenants, found["total_executions"]

    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(seen, shared.tenants * 30))

    assert found == {(tenant, 1, jobs) for tenant, jobs in zip(shared.tenants, (18, 30, 42), strict=True)}


def test_nothing_is_left_on_a_connection(shared: Api, mine: Admitted) -> None:
    """Whether a request ended well or not, the next transaction begins as nobody's."""
    with one_connection(shared) as pool:
        backends = set()
        for fails in (False, True, False):
            try:
                with pool.reading_as(mine) as connection:
                    backends.add(connection.info.backend_pid)
                    assert connection.execute(COUNT).fetchone()[0] > 0
                    if fails:
                        raise RuntimeError
            except RuntimeError:
                pass
            with pool.connection() as connection:
                assert connection.info.backend_pid in backends
                assert connection.execute(COUNT).fetchone() == (0, 0)

    assert len(backends) == 1


def test_a_failed_statement_does_not_spoil_the_connection(shared: Api, mine: Admitted) -> None:
    """What the driver says stays behind our own failure, and the same connection goes on."""
    with one_connection(shared) as pool:
        with pytest.raises(AnalyticsQueryError) as failed, pool.reading_as(mine) as connection:
            connection.execute("SELECT 1 / 0")
        with pytest.raises(AnalyticsQueryError), pool.reading_as(mine) as connection:
            connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        with pool.reading_as(mine) as connection:
            assert connection.execute(COUNT).fetchone()[1] == 1

    assert isinstance(failed.value.__cause__, psycopg.errors.DivisionByZero)


def test_a_request_sees_one_state_of_the_metrics(own: Api) -> None:
    """A refresh in the middle of a request changes nothing that it reads."""
    tenant = own.tenants[0]
    with own.pool.reading_as(admit(tenant.organization)) as connection:
        metrics = AnalyticsRepository(connection, admit(tenant.organization))
        before = metrics.get_completeness()
        own.pipeline.plant_job(tenant)
        own.pipeline.refresh()
        found = metrics.get_total(since=NOON - DAY, until=NOON + 3 * DAY)

        assert metrics.get_completeness() == before
        assert found["total_executions"] == 18


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM analytics.clients", "SET TRANSACTION READ WRITE", "CREATE TEMPORARY TABLE mine ()"],
)
def test_nothing_can_be_written(shared: Api, mine: Admitted, statement: str) -> None:
    """Even if the role were allowed to."""
    with (
        ReadingPool(shared.url, shared.settings) as pool,
        pytest.raises(AnalyticsQueryError),
        pool.reading_as(mine) as connection,
    ):
        connection.execute(statement)


def test_times_are_utc_and_statements_end(shared: Api, mine: Admitted) -> None:
    """Whatever the role or the database is set to; and no statement goes on when nobody waits any more."""
    with shared.pool.reading_as(mine) as connection:
        (moment,) = connection.execute("SELECT timestamptz '2024-01-31 12:00Z'").fetchone()
        (longest,) = connection.execute("SHOW statement_timeout").fetchone()

    assert moment == datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert moment.utcoffset().total_seconds() == 0
    assert longest == "15s"


def test_who_finds_no_connection_is_told(
    shared: Api, mine: Admitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than waiting for ever for those who have them all.

    Readiness costs no connection of its own: it is not given where all are lent, and afterwards over one of
    them.
    """
    monkeypatch.setattr("pipelines.query.pool._PATIENCE_S", 0.1)
    with one_connection(shared) as pool:
        with pool.reading_as(mine):
            with pytest.raises(DatabaseUnreachable), pool.reading_as(mine):
                pass
            with pytest.raises(DatabaseUnreachable):
                pool.require_ready()
        pool.require_ready()


def test_the_reader_may_have_an_address_of_its_own(shared: Api) -> None:
    """Or reads as whoever writes; a wrong one is named after its setting, and not repeated."""
    settings = shared.settings.model_dump() | {"reader_url": "postgresql+psycopg://reader@other/metrics"}

    with reader_url(load_settings(**settings)) as configured:
        assert configured == "postgresql://reader@other/metrics"
    with reader_url(shared.settings) as otherwise:
        assert otherwise == shared.url
    for wrong in ("sesame", "mysql://reader:sesame@host/db"):
        refusing = pytest.raises(InvalidSetting, match="EXECMETRICS_READER_URL")
        with refusing as refused, reader_url(load_settings(**settings | {"reader_url": wrong})):
            pass
        assert "sesame" not in str(refused.value)


def test_who_may_write_is_told_from_who_may_not(shared: Api) -> None:
    """The owner is shown every tenant, the role of the grants one; without tables there is nobody to show."""
    with ReadingPool(shared.url, shared.settings) as as_owner:
        assert as_owner.sees_every_tenant()
    with ReadingPool(with_database(shared.reader_url, "postgres"), shared.settings) as elsewhere:
        assert not elsewhere.sees_every_tenant()
    assert not shared.pool.sees_every_tenant()


def test_a_pool_that_is_left_lets_go(shared: Api, mine: Admitted) -> None:
    """Its connections end with it, not with the process."""
    with one_connection(shared) as pool, pool.reading_as(mine) as connection:
        backend = connection.info.backend_pid

    deadline = time.monotonic() + 10
    while shared.pipeline.select("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [backend]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def one_connection(api: Api) -> ReadingPool:
    """A pool that lends the same connection to one after the other."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipelines.query.pool._CONNECTIONS", 1)
        return ReadingPool(api.reader_url, api.settings)

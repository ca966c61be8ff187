"""What is asked of the source is what comes, found in the cheapest way, and it is the same for everybody."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from itertools import chain
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
import pytest
from psycopg import Connection

from pipelines.errors import SourceMissing
from pipelines.frames import schema_of, uuids
from pipelines.postgres.connections import Databases
from pipelines.postgres.grants import grants
from pipelines.postgres.session_settings import SessionSettings
from pipelines.postgres.snapshot import open_snapshot
from pipelines.settings import Settings
from pipelines.source.selections import Asked, Swept, created_on, indexed, listed, of_owners
from pipelines.source.snapshot import Census, SourceSnapshot, checksums_statement, jobs_statement, open_source
from pipelines.subjects.jobs import FLAGS, JOBS
from tests.support.planting import (
    DAY,
    HOUR,
    NOON,
    Tenant,
    plant_job,
    plant_jobs,
    plant_tenant,
    without_constraints,
)

pytestmark = pytest.mark.every_postgres

Opened = Callable[[], AbstractContextManager[SourceSnapshot]]

CIRCLE = 2**32
MICROSECOND = timedelta(microseconds=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

# What every frame of jobs has.
SCHEMA = pl.Schema(schema_of(JOBS.fact.columns) | dict.fromkeys(FLAGS, pl.Boolean()))


@pytest.fixture
def opened(databases: Databases, settings: Settings) -> Opened:
    """A function that opens a snapshot of the source."""
    return partial(open_source, databases.source_url, settings)


@pytest.fixture
def reader_url(databases: Databases, settings: Settings, source: Connection) -> Iterator[str]:
    """The source, entered as a role that may do what `execmetrics grants` prints for a reader of it."""
    role = f"reader_of_{source.info.dbname}"
    source.execute(f"CREATE ROLE {role} LOGIN")
    source.execute(f"GRANT {role} TO CURRENT_USER")
    for granted in grants(settings, source_reader=role, writer="w", dashboard_reader="d"):
        if granted.purpose == "source_reader":
            for statement in granted.statements:
                source.execute(statement)
    yield f"{databases.source_url}&user={role}"
    source.execute(f"DROP OWNED BY {role}")
    source.execute(f"DROP ROLE {role}")


@dataclass(frozen=True)
class Many:
    """A database with so many jobs that the planner has a choice; whoever changes it rolls back."""

    source: Connection
    tenant: Tenant
    neighbour: Tenant


@pytest.fixture(scope="module")
def planted(create_shared_database: Callable[[str], str]) -> Iterator[Callable[[str], Many]]:
    """A function that gives the one such database of a server."""
    with ExitStack() as connections:

        @cache
        def of(server: str) -> Many:
            source = connections.enter_context(
                psycopg.connect(create_shared_database(server), autocommit=True)
            )
            many = Many(source, plant_tenant(source), plant_tenant(source, "Neighbour"))
            plant_many(source, many.tenant, many.neighbour)
            return many

        yield of


@pytest.fixture
def many(server: str, planted: Callable[[str], Many]) -> Many:
    """Many jobs of two tenants, on the server of the test."""
    return planted(server)


def test_a_sweep_reads_what_was_written_at_the_horizon_or_later(
    databases: Databases, settings: Settings, source: Connection
) -> None:
    """A transaction that was open when the horizon was taken is read next time, and nothing twice."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    late = plant_job(source, tenant)
    plant_job(source, neighbour)
    with psycopg.connect(databases.source_url) as open_one:
        open_one.execute("UPDATE orchestration.jobs SET status = 'FAILED' WHERE id = %s", [late])
        with open_source(databases.source_url, settings) as before:
            horizon = before.moment.horizon
            unchanged = pl.concat(before.jobs(listed([late])))
        other = plant_job(source, neighbour)

    with open_source(databases.source_url, settings) as now:
        asked = Swept({tenant.organization: horizon, neighbour.organization: horizon})
        found, counted = ids(now, asked), now.census(asked)
        again = now.moment.horizon
        nothing = ids(now, Swept({tenant.organization: again, neighbour.organization: again}))

    assert unchanged["status"].to_list() == ["COMPLETED"]
    assert horizon == xmin(source, late)
    assert found == [late, other] == found_by(counted)
    assert counted.reported == {tenant.organization: 1, neighbour.organization: 2}
    assert nothing == []


def test_a_count_names_ten_thousand_changes(opened: Opened, source: Connection) -> None:
    """It counts the jobs of each organization; where more changed, the table has to be swept for them."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_many(source, tenant, neighbour, jobs=4_000)
    ever = Swept(dict.fromkeys((tenant.organization, neighbour.organization), 3))

    with opened() as snapshot:
        few, swept = snapshot.census(ever), ids(snapshot, ever)
    plant_many(source, tenant, jobs=4_000)
    with opened() as snapshot:
        many = snapshot.census(ever)

    assert found_by(few) == swept
    assert few.reported == {tenant.organization: 4_001, neighbour.organization: 4_001}
    assert many.changed is None
    assert many.reported == {tenant.organization: 8_002, neighbour.organization: 4_001}


def test_transaction_ids_are_compared_on_their_circle(opened: Opened, source: Connection) -> None:
    """A billion ids before a horizon and a billion after it are told apart, on whichever side of zero."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    theirs = plant_job(source, neighbour)
    behind = {0: True, 1: True, -1: False, 2**30: True, 2**31 - 2**16: True, -(2**30): False}
    horizons = {
        ((xmin(source, job) - distance) % CIRCLE + circles * CIRCLE): found
        for distance, found in behind.items()
        for circles in (0, 1, 7)
    }

    alone = read(opened, *(Swept({tenant.organization: each}, only_listed=True) for each in horizons))
    with opened() as snapshot:
        counts = [snapshot.census(Swept({tenant.organization: each}, only_listed=True)) for each in horizons]
    # A neighbour's lowest horizon lets every row pass the first test: its own horizon decides.
    in_company = read(
        opened, *(Swept({tenant.organization: each, neighbour.organization: 3}) for each in horizons)
    )

    assert alone == [[job] if found else [] for found in horizons.values()] == list(map(found_by, counts))
    assert in_company == [[job, theirs] if found else [theirs] for found in horizons.values()]


def test_a_horizon_that_is_too_far_behind_reads_everything(opened: Opened, source: Connection) -> None:
    """After a billion transactions nobody can tell any more what was written since, so all of it is read."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, neighbour)

    with opened() as snapshot:
        now = snapshot.moment.horizon
        for behind in (2**30, 2**31 - 1, 2**31, 2**31 + 1000, 2**32 - 1, 2**32, 2**33):
            checkpoint = json.dumps({"identity": snapshot.moment.identity, "horizon": now - behind})
            mine = snapshot.horizon_after(checkpoint)
            swept = Swept({tenant.organization: mine, neighbour.organization: now})
            assert ids(snapshot, swept) == [job]
            assert set(uuids(snapshot.names(swept).clients["id"])) == set(tenant.clients)


def test_each_organization_has_its_own_horizon(opened: Opened, source: Connection) -> None:
    """One without a horizon is read whole, and so is one that is not listed, unless it is left out."""
    tenants = [plant_tenant(source, f"Tenant {number}") for number in range(4)]
    first = [plant_job(source, tenant) for tenant in tenants]
    with opened() as snapshot:
        early = snapshot.moment.horizon
    second = [plant_job(source, tenant) for tenant in tenants]
    with opened() as snapshot:
        late = snapshot.moment.horizon
    horizons = {tenant.organization: each for tenant, each in zip(tenants, (early, late, None), strict=False)}

    everybody, some, nobody = read(
        opened, Swept(horizons), Swept(horizons, only_listed=True), Swept({}, only_listed=True)
    )

    assert everybody == sorted([second[0], first[2], second[2], first[3], second[3]])
    assert some == sorted([second[0], first[2], second[2]])
    assert nobody == []


def test_by_index_come_the_rows_that_were_updated_since(opened: Opened, source: Connection) -> None:
    """From each organization's moment on; one that is not listed has the earliest, unless it is left out."""
    tenants = [plant_tenant(source, f"Tenant {number}") for number in range(3)]
    times = [NOON - HOUR - MICROSECOND, NOON - HOUR, NOON - MICROSECOND, NOON, NOON + DAY]
    jobs = [[plant_job(source, tenant, updated_at=at) for at in times] for tenant in tenants]
    since = {tenants[0].organization: NOON - HOUR, tenants[1].organization: NOON}

    everybody, some = read(opened, indexed(since), indexed(since, only_listed=True))
    all_of_them, nobody = read(opened, indexed({}), indexed({}, only_listed=True))

    assert some == sorted([*jobs[0][1:], *jobs[1][3:]])
    assert everybody == sorted([*some, *jobs[2][1:]])
    assert (all_of_them, nobody) == (sorted(chain(*jobs)), [])


def test_a_row_updated_at_the_end_of_time_is_always_found(opened: Opened, source: Connection) -> None:
    """Infinity is later than any moment, and never earlier; the sweep finds what the index cannot."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    late = plant_job(source, tenant, updated_at="infinity")
    early = plant_job(source, tenant, updated_at="-infinity")

    by_index, swept = read(
        opened,
        indexed({tenant.organization: NOON + DAY}, only_listed=True),
        Swept({tenant.organization: None}, only_listed=True),
    )

    assert (by_index, swept) == ([late], [late, early])


def test_days_are_the_days_of_creation_in_utc(opened: Opened, source: Connection) -> None:
    """Each organization has days of its own; a day ends at its last microsecond, and odd times have none."""
    without_constraints(source)
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    midnight = datetime(2024, 2, 29, tzinfo=UTC)
    times: list[Any] = [midnight - MICROSECOND, midnight, midnight + DAY - MICROSECOND, midnight + DAY]
    odd = ["infinity", "-infinity", "0044-03-15 12:00Z BC", "12024-01-31 12:00Z"]
    mine = [plant_job(source, tenant, created_at=at) for at in [*times, *odd]]
    theirs = [plant_job(source, neighbour, created_at=at, status="RUNNING") for at in times]
    days = days_of((tenant, date(2024, 2, 29)), (neighbour, date(2024, 3, 1)), (neighbour, date(2024, 2, 28)))

    found, one, none = read(opened, created_on(days), created_on(days[:1]), created_on(days.clear()))

    assert found == sorted([mine[1], mine[2], theirs[0], theirs[3]])
    assert (one, none) == ([mine[1], mine[2]], [])


def test_any_number_of_ids_can_be_looked_up(opened: Opened, source: Connection) -> None:
    """Each job comes once, however often and with whatever unknown ids its own is given."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    jobs = plant_jobs(source, tenant, [{}, {"status": "PENDING"}, {"deleted_at": NOON}])
    unknown = [UUID(int=number) for number in range(1, 25_001)]

    found, none = read(opened, listed([jobs[0], *unknown, *jobs]), listed([]))

    assert (found, none) == (sorted(jobs), [])


def test_the_jobs_of_workflows_and_clients_come_whoever_owns_them(opened: Opened, source: Connection) -> None:
    """A workflow that changed hands is found with its jobs in whatever organization they are."""
    without_constraints(source)
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    by_workflow = plant_job(source, tenant, workflow_id=neighbour.workflows[1], client_id=None)
    by_client = plant_job(source, tenant, client_id=tenant.clients[1])
    theirs = plant_job(source, neighbour, workflow_id=neighbour.workflows[1], client_id=tenant.clients[1])
    plant_job(source, tenant)
    plant_job(source, neighbour)
    workflows, clients = [neighbour.workflows[1]], [tenant.clients[1]]

    both = read(opened, of_owners(workflows, clients), of_owners(workflow_ids=workflows))
    one_or_none = read(opened, of_owners(client_ids=clients), of_owners())

    assert both == [[by_workflow, by_client, theirs], [by_workflow, theirs]]
    assert one_or_none == [[by_client, theirs], []]


def test_names_come_with_those_that_changed(opened: Opened, source: Connection) -> None:
    """Every organization, and of its workflows and clients what was written since the horizon."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    with opened() as before:
        horizon = before.moment.horizon
    source.execute(
        "UPDATE orchestration.workflows SET name = 'renamed' WHERE id = ANY(%s)",
        [[tenant.workflows[0], neighbour.workflows[0]]],
    )

    with opened() as now:
        everybody = now.names(Swept({tenant.organization: horizon}))

    assert set(uuids(everybody.organizations["id"])) == {tenant.organization, neighbour.organization}
    assert set(uuids(everybody.workflows["id"])) == {tenant.workflows[0], *neighbour.workflows}
    assert set(uuids(everybody.clients["id"])) == set(neighbour.clients)


def test_everything_can_be_read_with_rights_to_the_contract_alone(
    reader_url: str, databases: Databases, settings: Settings, source: Connection
) -> None:
    """A role that may read the contract's columns reads what the owner reads, and cannot read the payload."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    job = plant_job(source, tenant)

    as_owner = everything(databases.source_url, settings, tenant, job)
    as_reader = everything(reader_url, settings, tenant, job)

    assert as_reader == as_owner
    with psycopg.connect(reader_url) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("SELECT result FROM orchestration.jobs")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_the_server_s_own_time_zone_decides_nothing(
    zone: str, databases: Databases, settings: Settings, source: Connection
) -> None:
    """Times, days and hashes are the same wherever the server thinks it is, and however it writes dates."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    job = plant_job(source, tenant)
    # Around midnight there and in UTC, and in the hours that New York has twice and not at all.
    for at in ("2024-11-03T05:30Z", "2024-11-03T06:30Z", "2024-03-10T07:00Z", "2024-01-31T18:29:59.999999Z"):
        for created in (at, "2024-02-01T00:00Z", "2024-01-31T23:59:59.999999Z", "2024-01-31T05:00Z"):
            plant_job(source, tenant, created_at=created, started_at=at, completed_at=at, updated_at=at)
    in_utc = everything(databases.source_url, settings, tenant, job)
    source.execute(f"ALTER DATABASE {source.info.dbname} SET TimeZone = '{zone}'")
    source.execute(f"ALTER DATABASE {source.info.dbname} SET DateStyle = 'SQL, DMY'")

    elsewhere = everything(databases.source_url, settings, tenant, job)

    with psycopg.connect(databases.source_url) as another:
        assert another.execute("SHOW TimeZone").fetchone() == (zone,)
    assert elsewhere == in_utc


def test_an_index_on_updated_at_is_used(many: Many) -> None:
    """The indexed tier reads what changed by the index, and of no table the whole."""
    source, tenant, neighbour = many.source, many.tenant, many.neighbour
    latest = source.execute("SELECT max(updated_at) FROM orchestration.jobs").fetchone()[0]

    for since in (latest - HOUR, latest - 10 * DAY):
        plan = plan_of(source, indexed({tenant.organization: since, neighbour.organization: since}))
        assert re.search(r"(Index Scan using|Bitmap Index Scan on) jobs_by_updated_at", plan), plan
        assert "Seq Scan" not in plan
    with source.transaction(force_rollback=True):
        source.execute("DROP INDEX orchestration.jobs_by_updated_at")
        assert "Seq Scan on jobs" in plan_of(source, indexed({tenant.organization: latest}))


def test_ids_are_found_by_the_primary_key(many: Many) -> None:
    """One, or as many as are asked for at a time: the table is not read through for them."""
    some = [row[0] for row in many.source.execute("SELECT id FROM orchestration.jobs LIMIT 1000")]

    for plan in (plan_of(many.source, listed(some[:1])), plan_of(many.source, listed(some))):
        assert re.search(r"Index Scan (using|on) jobs_primary_key", plan), plan
        assert "Seq Scan on jobs" not in plan


def test_many_days_are_looked_up_in_one_pass_over_the_table(many: Many) -> None:
    """However many there are, no organization is read once for each of its days."""
    source, tenant, neighbour = many.source, many.tenant, many.neighbour
    first = date(2024, 1, 1)
    days = days_of(*((who, first + number * DAY) for who in (tenant, neighbour) for number in range(35)))

    plan = plan_of(source, created_on(days))

    assert len(re.findall(r"Scan.* on jobs j", plan)) == 1, plan
    assert "hashed SubPlan" in plan
    with source.transaction(force_rollback=True):
        source.execute("CREATE INDEX jobs_by_created_at ON orchestration.jobs (created_at)")
        assert "jobs_by_created_at" in plan_of(source, created_on(days[:1]))


def test_a_sweep_decides_in_the_scan_of_the_jobs_alone(many: Many) -> None:
    """A row that did not change costs no look at its workflow, its client or its organization's cursor."""
    source, tenant, neighbour = many.source, many.tenant, many.neighbour
    now = int(source.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()[0])

    plan = plan_of(
        source, Swept({tenant.organization: now, neighbour.organization: now}), "ANALYZE, TIMING OFF"
    )

    scan = re.search(r"Seq Scan on jobs j .*actual rows=(\d+)", plan)
    assert scan
    assert int(scan[1]) == 0


def test_checksums_of_everything_read_the_table_once_and_of_a_range_the_index(many: Many) -> None:
    """Bounds that are not asked for mislead nobody into an index, and those that are asked for are used."""
    reserved = {"reserved_ids": [], "reserved_initiators": []}
    shared = SessionSettings(earliest=EARLIEST, latest="infinity", **reserved).texts()
    hours = [f"2024-01-20 0{hour}:00Z" for hour in (0, 1)]
    an_hour = {"execmetrics.completed_since": hours[0], "execmetrics.completed_until": hours[1]}

    everything_planned = explained(many.source, checksums_statement([]), shared)
    a_range_planned = explained(many.source, checksums_statement(["completed_in"]), shared | an_hour)

    assert "Seq Scan on jobs" in everything_planned
    assert "Hash" in everything_planned
    assert "Nested Loop" not in everything_planned
    assert re.search(r"Index Scan (using|on) jobs_by_\w*completed_at", a_range_planned), a_range_planned


def test_the_size_is_that_of_the_table_and_its_partitions(
    reader_url: str, settings: Settings, source: Connection
) -> None:
    """It needs no right to read; a table cut into parts is as large as all of them, a view as its table."""
    plant_many(source, plant_tenant(source), plant_tenant(source, "Neighbour"), jobs=5_000)
    pages = source.execute(
        "SELECT relpages FROM pg_class WHERE oid = 'orchestration.jobs'::regclass"
    ).fetchone()
    source.execute("REVOKE ALL ON ALL TABLES IN SCHEMA orchestration FROM PUBLIC")

    whole = size(reader_url, settings)
    cut_into_parts(source)
    in_parts = size(reader_url, settings)
    behind_a_view(source)

    assert whole >= pages[0] * 8192 > 1_000_000
    assert in_parts > 1_000_000
    assert size(reader_url, settings) == in_parts


def test_a_table_of_partitions_is_swept_like_any_other(opened: Opened, source: Connection) -> None:
    """Its rows have the same system columns, whichever part they are in."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_job(source, tenant)
    cut_into_parts(source)
    with opened() as before:
        horizon = before.moment.horizon
        assert len(ids(before, Swept({}))) == 2
    new = [plant_job(source, tenant), plant_job(source, tenant, created_at=NOON + 400 * DAY)]

    with opened() as now:
        changed = ids(now, Swept({tenant.organization: horizon}, only_listed=True))

    assert changed == new


def test_a_view_can_be_read_by_index_but_not_swept(opened: Opened, source: Connection) -> None:
    """A view has no system columns: what needs them says that the source is not as it should be."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    job = plant_job(source, tenant)
    behind_a_view(source)

    with opened() as snapshot:
        assert ids(snapshot, indexed({tenant.organization: NOON}, only_listed=True)) == [job]
    with pytest.raises(SourceMissing), opened() as snapshot:
        ids(snapshot, Swept({}))


def test_a_moment_is_of_one_server_database_and_table(opened: Opened, source: Connection) -> None:
    """It is the same for two snapshots, and another one for another table of the same name."""
    plant_job(source, plant_tenant(source))
    with (
        opened() as one,
        opened() as two,
    ):
        assert one.moment.identity == two.moment.identity
        assert one.moment.extracted_at <= two.moment.extracted_at
        before = one.moment
    cut_into_parts(source)

    with opened() as replaced:
        assert replaced.moment.identity != before.identity
        assert replaced.moment.horizon > before.horizon
        assert replaced.moment.extracted_at > before.extracted_at


def test_every_read_of_a_snapshot_sees_the_same_moment(opened: Opened, source: Connection) -> None:
    """What is committed after the horizon was read waits for the next snapshot, whoever asks how often."""
    tenant = plant_tenant(source)
    job = plant_job(source, tenant)
    plant_job(source, plant_tenant(source, "Neighbour"))
    mine = Swept({tenant.organization: None}, only_listed=True)

    with opened() as snapshot:
        later = plant_job(source, tenant)
        source.execute("UPDATE orchestration.organizations SET name = 'renamed'")
        seen = ids(snapshot, mine), ids(snapshot, listed([job, later]))
        names = snapshot.names(mine).organizations["name"].sort().to_list()
        checksums = snapshot.checksums(
            organization_ids=[tenant.organization], earliest=EARLIEST, tolerance=None
        )

    assert seen == ([job], [job])
    assert (names, checksums["rows"].sum()) == (["Acme", "Neighbour"], 1)


def test_settings_arrive_as_they_were_given(opened: Opened) -> None:
    """Quotes, backslashes, line ends and letters of any alphabet; they end with the transaction."""
    odd = '\'; DROP TABLE "x"; \\ %s {}\n\t€ 日本'
    names = "relation", "tolerance"
    asked = ", ".join(f"current_setting('execmetrics.{name}') AS {name}" for name in names)

    with opened() as snapshot:
        snapshot.set(SessionSettings(relation=odd, tolerance=""))
        snapshot.set(SessionSettings(only_listed=False))
        given = snapshot.rows_of(f"SELECT {asked}").row(0)

    assert given == (odd, "")


def test_how_long_a_snapshot_and_its_longest_statement_took_is_known(
    opened: Opened, source: Connection
) -> None:
    """A statement lasts until its last row was taken, and a snapshot until it is closed."""
    plant_job(source, plant_tenant(source))

    with opened() as snapshot:
        snapshot.rows_of("SELECT pg_sleep(0.3)::text")
        snapshot.rows_of("SELECT pg_sleep(0.1)::text")
        answered = snapshot.longest_statement_s
        reading = snapshot.jobs(Swept({}))
        next(reading)
        snapshot_seconds = snapshot.seconds
        source.execute("SELECT pg_sleep(0.5)")
        list(reading)

    closed = snapshot.seconds
    source.execute("SELECT pg_sleep(0.1)")
    assert 0.3 <= answered < 0.5
    assert snapshot.longest_statement_s >= 0.5
    assert snapshot_seconds + 0.5 <= closed == snapshot.seconds


def test_a_snapshot_is_read_only(databases: Databases, settings: Settings, source: Connection) -> None:
    """Whatever else goes wrong, nothing is ever written to a source."""
    plant_job(source, plant_tenant(source))

    for opened in (open_source, open_snapshot):
        with (
            pytest.raises(Exception, match="read-only transaction"),
            opened(databases.source_url, settings) as snapshot,
        ):
            snapshot.rows_of("DELETE FROM orchestration.jobs RETURNING id")


def found_by(census: Census) -> list[UUID]:
    """The jobs that changed, sorted."""
    assert census.changed is not None
    return sorted(chain.from_iterable(each.ids or () for each in census.changed.settings))


def read(opened: Opened, *asked: Asked | Swept) -> list[list[UUID]]:
    """The jobs that each of them selects in one snapshot."""
    with opened() as snapshot:
        return [ids(snapshot, each) for each in asked]


def ids(snapshot: SourceSnapshot, asked: Asked | Swept) -> list[UUID]:
    """The jobs that are read, sorted; every frame has the columns that are promised."""
    found: list[UUID] = []
    for frame in snapshot.jobs(asked):
        assert frame.schema == SCHEMA
        found += uuids(frame["job_id"])
    return sorted(found)


def everything(url: str, settings: Settings, tenant: Tenant, job: UUID) -> dict[str, list[tuple[Any, ...]]]:
    """What each kind of read gives, in an order of its own."""
    asked: dict[str, Asked | Swept] = {
        "swept": Swept({}),
        "swept since": Swept({tenant.organization: 3}, only_listed=True),
        "indexed": indexed({tenant.organization: NOON}),
        "created on": created_on(days_of((tenant, date(2024, 1, 31)), (tenant, date(2024, 3, 10)))),
        "listed": listed([job]),
        "of owners": of_owners(tenant.workflows[:1], tenant.clients[:1]),
    }
    with open_source(url, settings) as snapshot:
        read = {
            name: pl.concat([pl.DataFrame(schema=SCHEMA), *snapshot.jobs(each)])
            for name, each in asked.items()
        }
        names = snapshot.names(Swept({}))
        read |= {
            "organizations": names.organizations,
            "workflows": names.workflows,
            "clients": names.clients,
            "checksums": snapshot.checksums(earliest=EARLIEST, tolerance=timedelta(days=1)),
            "checksums of some": snapshot.checksums(
                organization_ids=[tenant.organization],
                created_since=date(2024, 1, 31),
                completed=(NOON - 300 * DAY, NOON + 300 * DAY),
                earliest=EARLIEST,
                tolerance=None,
            ),
        }
        assert snapshot.size_bytes() > 0
        assert snapshot.moment.identity
    assert not [name for name, frame in read.items() if frame.is_empty()]
    return {name: sorted(map(tuple, frame.rows()), key=repr) for name, frame in read.items()}


def days_of(*days: tuple[Tenant, date]) -> pl.DataFrame:
    """Organizations and days, as checksums differ by them."""
    return pl.DataFrame(
        [(tenant.organization.bytes, day) for tenant, day in days],
        schema={"organization_id": pl.Binary, "created_date": pl.Date},
        orient="row",
    )


def xmin(source: Connection, job: UUID) -> int:
    """Which transaction wrote a row."""
    found = source.execute("SELECT xmin::text::bigint FROM orchestration.jobs WHERE id = %s", [job])
    return int(found.fetchone()[0])


def size(url: str, settings: Settings) -> int:
    """What the source says of the size of its table."""
    with open_source(url, settings) as snapshot:
        return snapshot.size_bytes()


def plan_of(source: Connection, asked: Asked | Swept, options: str = "COSTS OFF") -> str:
    """How the server would read what is asked for."""
    return explained(source, jobs_statement(asked.fragment), asked.settings[0].texts(), options)


def explained(source: Connection, text: str, settings: Any, options: str = "COSTS OFF") -> str:
    """The server's plan for a statement."""
    with source.transaction():
        for name, value in settings.items():
            source.execute("SELECT set_config(%s, %s, true)", [name, value])
        return "\n".join(line for (line,) in source.execute(f"EXPLAIN ({options}) {text}"))


def plant_many(source: Connection, *tenants: Tenant, jobs: int = 40_000) -> None:
    """Insert so many jobs in five weeks that the planner has a choice: updated in another order."""
    for tenant in tenants:
        source.execute(
            "INSERT INTO orchestration.jobs (id, organization_id, workflow_id, client_id, status,"
            " created_at, started_at, completed_at, updated_at)"
            " SELECT gen_random_uuid(), %s, %s, %s, 'COMPLETED', t, t, t,"
            " timestamptz '2024-01-01Z' + random() * interval '35 days' FROM generate_series("
            "timestamptz '2024-01-01Z', '2024-02-05Z', interval '35 days' / %s) AS t",
            [tenant.organization, tenant.workflows[0], tenant.clients[0], jobs],
        )
    source.execute("VACUUM ANALYZE orchestration.jobs, orchestration.workflows, orchestration.clients")


def cut_into_parts(source: Connection) -> None:
    """Put a table of two partitions in the place of the jobs, with the same rows and rights."""
    source.execute("""
        ALTER TABLE orchestration.jobs RENAME TO whole;
        CREATE TABLE orchestration.jobs (LIKE orchestration.whole INCLUDING DEFAULTS)
            PARTITION BY RANGE (created_at);
        CREATE TABLE orchestration.jobs_until_2024 PARTITION OF orchestration.jobs
            FOR VALUES FROM (MINVALUE) TO ('2025-01-01Z');
        CREATE TABLE orchestration.jobs_later PARTITION OF orchestration.jobs DEFAULT;
        INSERT INTO orchestration.jobs SELECT * FROM orchestration.whole
    """)


def behind_a_view(source: Connection) -> None:
    """Put a view in the place of the jobs."""
    source.execute("ALTER TABLE orchestration.jobs RENAME TO behind")
    source.execute("CREATE VIEW orchestration.jobs AS SELECT * FROM orchestration.behind")

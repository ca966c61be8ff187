"""One organization's trouble stays its own: the others are published, and it is named."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection
from psycopg.rows import dict_row

from pipelines.errors import TooManyFailures
from pipelines.facts.fact_table import open_facts
from pipelines.fault_points import FaultPoint, watched_by
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.checks import standing_failures
from pipelines.runs.refresh import FailedOrganization, reconcile, reconcile_created, refresh
from pipelines.runs.status import status
from pipelines.runs.verify import verify
from pipelines.settings import Settings, load_settings
from pipelines.state.watermarks import find_watermarks
from pipelines.subjects.jobs import JOBS
from tests.support.oracle import ALL, Cells, cells_by_sql, differences
from tests.support.planting import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    Tenant,
    cells,
    listed,
    plant_job,
    plant_jobs,
    plant_tenant,
    row_versions,
    without_constraints,
)

# What PL/pgSQL's RAISE is called by the driver.
REFUSED = "RaiseException"

LONG_AGO = NOON - 100 * DAY


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings by which a run may be good although most organizations failed."""
    return settings.model_copy(update={"tolerated_failures_pct": 100})


@pytest.mark.parametrize("culprits", [[0], [3, 4]])
def test_a_failing_batch_is_halved_until_the_culprit_is_alone(
    culprits: list[int],
    databases: Databases,
    patient: Settings,
    source: Connection,
    analytics: Connection,
) -> None:
    """The others are published after a few attempts; the culprit keeps cells, names, cursor and the rest."""
    tenants = plant_tenants(source, 16)
    refresh(Run(databases, patient))
    guilty = [tenants[number] for number in culprits]
    before = [everything_of(analytics, tenant) for tenant in guilty]
    for tenant in tenants:
        plant_jobs(source, tenant, [{"completed_at": NOON + 2 * HOUR}, {"started_at": NOON + HOUR}])
        source.execute(
            "UPDATE orchestration.workflows SET name = 'Renamed' WHERE id = %s", [tenant.workflows[0]]
        )

    with refusing(analytics, *guilty), counted(FaultPoint.BATCH_BEGUN) as batches:
        report = refresh(Run(databases, patient))

    assert report.failed == tuple(FailedOrganization(each.organization, REFUSED) for each in guilty)
    # One more is that of the steps.
    assert batches[0] <= 1 + 2 * math.log2(len(tenants)) * len(guilty) + 1
    assert [everything_of(analytics, tenant) for tenant in guilty] == before
    others = [tenant for tenant in tenants if tenant not in guilty]
    assert differences(of(others, cells(analytics)), of(others, cells_by_sql(source))) == []
    for key in (tenant.organization for tenant in others):
        assert listed(analytics, key)
        assert cursor(analytics, key) != before[0]["cursor"]


@pytest.mark.parametrize(("state", "name"), [("P0001", REFUSED), ("XX001", "DataCorrupted")])
def test_an_organization_that_was_never_published_may_be_the_culprit(
    databases: Databases,
    patient: Settings,
    source: Connection,
    analytics: Connection,
    state: str,
    name: str,
) -> None:
    """Nothing of it appears, and everything of its neighbours, in the very first run.

    Whether a rule of its rows is broken or the server finds a page damaged.
    """
    culprit, *others = plant_tenants(source, 5)

    with refusing(analytics, culprit, state=state):
        report = refresh(Run(databases, patient))

    assert report.failed == (FailedOrganization(culprit.organization, name),)
    assert not any(everything_of(analytics, culprit).values())
    assert differences(cells(analytics), of(others, cells_by_sql(source))) == []


def test_what_became_of_each_organization_is_recorded(
    databases: Databases, patient: Settings, source: Connection, analytics: Connection
) -> None:
    """One row for each in each run: published or failed, the class of the error, and how long it took."""
    tenants = plant_tenants(source, 4)
    refresh(Run(databases, patient))
    for tenant in tenants:
        plant_job(source, tenant)

    with refusing(analytics, tenants[2]):
        refresh(Run(databases, patient))

    first, second = outcomes_by_run(analytics)
    keys = {tenant.organization for tenant in tenants}
    assert first.keys() == second.keys() == keys
    assert {row["outcome"] for row in first.values()} == {"published"}
    failed = second.pop(tenants[2].organization)
    assert (failed["outcome"], failed["error_class"]) == ("failed", REFUSED)
    assert {(row["outcome"], row["error_class"]) for row in second.values()} == {("published", None)}
    assert all(0 < row["milliseconds"] < 60_000 for row in [failed, *first.values(), *second.values()])


def test_a_run_fails_above_a_threshold_and_not_before_everything_is_committed(
    databases: Databases, settings: Settings, source: Connection, analytics: Connection
) -> None:
    """Two of ten are too many by default, one of ten is not; the other eight are published all the same."""
    tenants = plant_tenants(source, 10)
    refresh(Run(databases, settings))
    for tenant in tenants:
        plant_job(source, tenant)

    with (
        refusing(analytics, *tenants[:2]),
        pytest.raises(TooManyFailures, match=f"2 of 10: {tenants[0].organization} {REFUSED}"),
    ):
        refresh(Run(databases, settings))

    others = tenants[2:]
    assert differences(of(others, cells(analytics)), of(others, cells_by_sql(source))) == []
    with refusing(analytics, tenants[0]):
        assert len(refresh(Run(databases, settings)).failed) == 1
    assert refresh(Run(databases, settings.model_copy(update={"tolerated_failures_pct": 0}))).failed == ()


@pytest.mark.every_postgres
def test_an_organization_recovers_by_itself(
    databases: Databases, patient: Settings, source: Connection, analytics: Connection
) -> None:
    """When the trouble is over the next run publishes all that was missed, and the one after nothing."""
    culprit, *_ = plant_tenants(source, 4)
    refresh(Run(databases, patient))
    with refusing(analytics, culprit):
        for day in range(2):
            plant_job(source, culprit, completed_at=NOON + day * DAY)
            assert refresh(Run(databases, patient)).failed == (
                FailedOrganization(culprit.organization, REFUSED),
            )

    healed = refresh(Run(databases, patient))

    assert (healed.failed, healed.facts_inserted) == ((), 0)
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert verify(Run(databases, patient)).differences == ()
    assert refresh(Run(databases, patient)).cells_written == 0


def test_a_new_definition_reaches_everybody_but_the_culprit(
    databases: Databases, patient: Settings, source: Connection, analytics: Connection
) -> None:
    """Cells are computed anew for all who can be written, and for the last one when it can be, too."""
    other_plan = load_settings(rollup_plan="hour=0 day=1 week=1 month=1").rollup_plan
    tenants = plant_tenants(source, 8)
    refresh(Run(databases, patient.model_copy(update={"rollup_plan": other_plan})))
    before = row_versions(analytics, tenants[5].organization)

    with refusing(analytics, tenants[5]):
        report = refresh(Run(databases, patient))

    others = [tenant for tenant in tenants if tenant != tenants[5]]
    assert report.failed == (FailedOrganization(tenants[5].organization, REFUSED),)
    assert differences(of(others, cells(analytics)), of(others, cells_by_sql(source))) == []
    assert row_versions(analytics, tenants[5].organization) == before
    assert refresh(Run(databases, patient)).failed == ()
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_an_unknown_time_zone_concerns_nobody_else(
    databases: Databases, patient: Settings, source: Connection, analytics: Connection
) -> None:
    """Nobody can tell where its days begin, so its cells stay; its neighbours' days are known."""
    without_constraints(source)
    culprit, *others = plant_tenants(source, 3)
    refresh(Run(databases, patient))
    before = everything_of(analytics, culprit)
    move_to(source, culprit, "Mars/Olympus_Mons")
    move_to(source, others[0], "Asia/Tokyo")
    for tenant in (culprit, *others):
        plant_job(source, tenant, completed_at=NOON + 8 * HOUR)

    report = refresh(Run(databases, patient))

    assert report.failed == (FailedOrganization(culprit.organization, "UnknownTimeZone"),)
    assert everything_of(analytics, culprit) == before
    assert outcomes_by_run(analytics)[-1][culprit.organization]["error_class"] == "UnknownTimeZone"
    move_to(source, culprit, "America/New_York")
    right = cells_by_sql(source)
    assert differences(of(others, cells(analytics)), of(others, right)) == []
    assert refresh(Run(databases, patient)).failed == ()
    assert differences(cells(analytics), right) == []


@pytest.mark.every_postgres
def test_a_mass_deletion_is_guarded(
    databases: Databases, patient: Settings, source: Connection, analytics: Connection
) -> None:
    """Over a tenth and a thousand jobs or more: that organization stays as it is until somebody says so."""
    culprit, neighbour, small = plant_tenants(source, 3)
    plant_many(source, culprit, 1_200)
    plant_many(source, neighbour, 1_200)
    plant_many(source, small, 999)
    refresh(Run(databases, patient))
    before = everything_of(analytics, culprit)
    delete(source, culprit, 1_000)
    delete(source, neighbour, 100)
    delete(source, small, 999)

    report = reconcile(Run(databases, patient), since=LONG_AGO, until=NOON + DAY)

    others = [neighbour, small]
    assert report.failed == (FailedOrganization(culprit.organization, "DeletesNotAccepted"),)
    assert report.facts_deleted == 1_099
    assert guard_of(analytics, culprit)[1:] == (1_000, None)
    assert guard_of(analytics, neighbour) == (None, None, None)
    assert everything_of(analytics, culprit) == before
    assert open_facts(patient).rows_by_organization()[culprit.organization] == 1_201
    assert differences(of(others, cells(analytics)), of(others, cells_by_sql(source))) == []
    refresh(Run(databases, patient))
    assert total(analytics, culprit) == 1_201
    accepted = reconcile(Run(databases, patient), since=LONG_AGO, until=NOON + DAY, accept_deletes=True)
    assert (accepted.failed, accepted.facts_deleted) == ((), 1_000)
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert guard_of(analytics, culprit) == (None, None, None)


def test_guarded_deletes_stand_until_they_were_looked_for_again(
    databases: Databases, patient: Settings, source: Connection
) -> None:
    """A refresh publishes the organization and does not forget them; nor do checksums of fewer days."""
    culprit, _ = plant_tenants(source, 2)
    plant_many(source, culprit, 1_200)
    refresh(Run(databases, patient))
    source.execute("CREATE TABLE kept AS TABLE orchestration.jobs")
    delete(source, culprit, 1_000)
    created = (NOON - 2 * MINUTE).date()

    def standing() -> tuple[list[tuple[UUID, str]], set[str | None]]:
        named = [
            (each.organization_id, each.error_class) for each in standing_failures(Run(databases, patient))
        ]
        return named, {each.failing for each in status(Run(databases, patient)).organizations}

    reconcile_created(Run(databases, patient), since=created)
    first, since = standing(), standing_failures(Run(databases, patient))[0].failing_since
    refresh(Run(databases, patient))
    refreshed = standing()
    reconcile_created(Run(databases, patient), since=created + DAY)
    later_days = standing()
    reconcile_created(Run(databases, patient), since=created)
    again = standing_failures(Run(databases, patient))[0].failing_since
    source.execute("INSERT INTO orchestration.jobs TABLE kept ON CONFLICT DO NOTHING")
    reconcile_created(Run(databases, patient), since=created)

    named = ([(culprit.organization, "DeletesNotAccepted")], {"DeletesNotAccepted", None})
    assert (first, refreshed, later_days, again) == (named, named, named, since)
    assert standing() == ([], {None})


def test_an_organization_that_was_never_published_is_in_the_status(
    databases: Databases, patient: Settings, source: Connection, analytics: Connection
) -> None:
    """Nothing is known of it but what goes wrong."""
    culprit, neighbour = plant_tenants(source, 2)

    with refusing(analytics, culprit):
        refresh(Run(databases, patient))

    found = {each.organization_id: each for each in status(Run(databases, patient)).organizations}
    assert found[neighbour.organization].failing is None
    said = found[culprit.organization]
    assert (said.failing, said.complete_through, said.cursor, said.cells) == (REFUSED, None, None, 0)


def test_sealed_history_outlives_its_jobs(
    databases: Databases, settings: Settings, source: Connection, analytics: Connection
) -> None:
    """What completed before EXECMETRICS_SEALED_BEFORE stays counted, and verify calls it sealed."""
    tenant, neighbour = plant_tenants(source, 2)
    old = plant_jobs(source, tenant, [{"completed_at": NOON - 40 * DAY}, {"completed_at": NOON - 9 * DAY}])
    new = plant_job(source, tenant, completed_at=NOON + DAY)
    plant_job(source, neighbour, completed_at=NOON - 40 * DAY)
    refresh(Run(databases, settings))
    sealed = load_settings(home=settings.home, sealed_before=(NOON - 5 * DAY).date())
    source.execute("DELETE FROM orchestration.jobs WHERE id = ANY(%s)", [[*old, new]])

    report = reconcile(Run(databases, sealed), since=LONG_AGO, until=NOON + 9 * DAY)

    assert report.facts_deleted == 1
    assert total(analytics, tenant) == 3
    said = verify(Run(databases, sealed))
    assert said.differences == ()
    assert said.cells_sealed > 0
    # An edit of what is left in a sealed month is followed, and the sealed jobs stay in its cells.
    plant_job(source, tenant, completed_at=NOON - 9 * DAY + MINUTE)
    refresh(Run(databases, sealed))
    assert total(analytics, tenant) == 4
    assert verify(Run(databases, sealed)).differences == ()
    # Without the seal they would go, and verify says so.
    assert verify(Run(databases, settings)).differences != ()


def test_a_whale_comes_last_and_alone(
    databases: Databases,
    settings: Settings,
    source: Connection,
    analytics: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An organization with little to publish does not wait for one with much."""
    monkeypatch.setattr("pipelines.publish.publisher.CHUNK_ROWS", 50)
    whale, *small = plant_tenants(source, 5)
    refresh(Run(databases, settings))
    plant_many(source, whale, 60)
    for number, tenant in enumerate(small):
        plant_many(source, tenant, 5 * number)
    runs_before = {key: seen.run_id for key, seen in find_watermarks(analytics, JOBS).items()}
    committed: list[set[UUID]] = []

    def watch(point: FaultPoint) -> None:
        if point is FaultPoint.AFTER_COMMIT:
            now = find_watermarks(analytics, JOBS)
            committed.append({key for key in now if now[key].run_id != runs_before[key]})

    with watched_by(watch):
        refresh(Run(databases, settings))

    everybody = {whale.organization, *(tenant.organization for tenant in small)}
    # The last one is that of the steps.
    assert committed == [everybody - {whale.organization}, everybody, everybody]


def plant_tenants(source: Connection, count: int) -> list[Tenant]:
    """Insert organizations with a job each."""
    tenants = [plant_tenant(source, f"Tenant {number}") for number in range(count)]
    for tenant in tenants:
        plant_job(source, tenant)
    return tenants


def plant_many(source: Connection, tenant: Tenant, count: int) -> None:
    """Insert jobs that completed at noon."""
    source.execute(
        "INSERT INTO orchestration.jobs"
        " (id, organization_id, workflow_id, status, created_at, started_at, completed_at)"
        " SELECT gen_random_uuid(), %s, %s, 'COMPLETED', %s, %s, %s FROM generate_series(1, %s)",
        [tenant.organization, tenant.workflows[0], NOON - 2 * MINUTE, NOON - MINUTE, NOON, count],
    )


def delete(source: Connection, tenant: Tenant, count: int) -> None:
    """Delete jobs of an organization for good."""
    source.execute(
        "DELETE FROM orchestration.jobs WHERE id IN"
        " (SELECT id FROM orchestration.jobs WHERE organization_id = %s ORDER BY id LIMIT %s)",
        [tenant.organization, count],
    )


def move_to(source: Connection, tenant: Tenant, zone: str) -> None:
    """Have an organization live elsewhere."""
    source.execute(
        "UPDATE orchestration.organizations SET time_zone = %s WHERE id = %s", [zone, tenant.organization]
    )


@contextmanager
def refusing(analytics: Connection, *tenants: Tenant, state: str = "P0001") -> Iterator[None]:
    """Have the database refuse every cell of these organizations, with an SQLSTATE."""
    ids = ", ".join(f"'{tenant.organization}'" for tenant in tenants)
    analytics.execute(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF new.organization_id IN ({ids}) THEN RAISE EXCEPTION 'never' USING ERRCODE = '{state}';"
        " END IF; RETURN new; END $$"
    )
    analytics.execute(
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON analytics.aggregate_metrics"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        analytics.execute("DROP FUNCTION refuse CASCADE")


@contextmanager
def counted(point: FaultPoint) -> Iterator[list[int]]:
    """Yield how often runs pass a point meanwhile, in a list of one."""
    count = [0]

    def watch(passed: FaultPoint) -> None:
        count[0] += passed is point

    with watched_by(watch):
        yield count


def everything_of(analytics: Connection, tenant: Tenant) -> dict[str, Any]:
    """All that is published of an organization, each cell with its row's version."""
    key = tenant.organization
    return {
        "cells": row_versions(analytics, key),
        "cursor": cursor(analytics, key),
        "completeness": analytics.execute(
            "SELECT to_jsonb(c) - 'guarded_at' - 'guarded_rows' - 'guarded_since'"
            " FROM analytics.watermarks AS c WHERE subject = 'jobs' AND organization_id = %s",
            [key],
        ).fetchall(),
        "names": analytics.execute(
            "SELECT id, name FROM analytics.workflows WHERE organization_id = %(key)s"
            " UNION SELECT id, time_zone FROM analytics.organizations WHERE id = %(key)s ORDER BY id",
            {"key": key},
        ).fetchall(),
        "anomalies": listed(analytics, key),
    }


def guard_of(analytics: Connection, tenant: Tenant) -> tuple[Any, ...]:
    """The delete guard of an organization: since when, how many rows, and the first day compared."""
    return analytics.execute(
        "SELECT guarded_at, guarded_rows, guarded_since FROM analytics.watermarks"
        " WHERE subject = 'jobs' AND organization_id = %s",
        [tenant.organization],
    ).fetchone()


def cursor(analytics: Connection, organization: UUID) -> list[tuple[Any, ...]]:
    """How far an organization was read."""
    return analytics.execute(
        "SELECT checkpoint, swept_at FROM analytics.watermarks"
        " WHERE subject = 'jobs' AND organization_id = %s",
        [organization],
    ).fetchall()


def outcomes_by_run(analytics: Connection) -> Sequence[dict[UUID, dict[str, Any]]]:
    """The recorded outcomes of jobs by organization, for each run in their order."""
    runs: dict[UUID, dict[UUID, dict[str, Any]]] = {}
    with analytics.cursor(row_factory=dict_row) as rows:
        for row in rows.execute(
            "SELECT * FROM analytics.refresh_outcomes WHERE subject = 'jobs' ORDER BY finished_at"
        ):
            runs.setdefault(row["run_id"], {})[row["organization_id"]] = row
    return list(runs.values())


def of(tenants: Sequence[Tenant], these: Cells) -> Cells:
    """The cells of these organizations."""
    organizations = {tenant.organization for tenant in tenants}
    return {key: cell for key, cell in these.items() if key[0] in organizations}


def total(analytics: Connection, tenant: Tenant) -> int:
    """How many jobs the months of an organization count."""
    return sum(
        cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if (key[1], *key[3:]) == ("month", ALL, ALL, "all")
    )

"""One organization's trouble stays its own: the others are published, and it is named."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from psycopg.rows import dict_row

from pipelines.errors import TooManyFailures
from pipelines.facts.fact_table import open_facts
from pipelines.fault_points import FaultPoint, watched_by
from pipelines.runs.checks import standing_failures
from pipelines.runs.refresh import FailedOrganization
from pipelines.settings import load_settings
from pipelines.state.watermarks import find_watermarks
from pipelines.subjects.jobs import JOBS
from tests.support.oracle import ALL, Cells, cells_by_sql, differences
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Tenant, without_constraints

# What PL/pgSQL's RAISE is called by the driver.
REFUSED = "RaiseException"

LONG_AGO = NOON - 100 * DAY


@pytest.fixture
def patient(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose run may be good although most organizations failed."""
    return pipeline.having(tolerated_failures_pct=100)


@pytest.mark.parametrize("culprits", [[0], [3, 4]])
def test_a_failing_batch_is_halved_until_the_culprit_is_alone(culprits: list[int], patient: Pipeline) -> None:
    """The others are published after a few attempts; the culprit keeps cells, names, cursor and the rest.

    Of each organization each run records what became of it: published or failed, the class of the error, and
    how long it took.
    """
    tenants = plant_tenants(patient, 16)
    patient.refresh()
    guilty = [tenants[number] for number in culprits]
    before = [everything_of(patient, tenant) for tenant in guilty]
    for tenant in tenants:
        patient.plant_jobs(tenant, [{"completed_at": NOON + 2 * HOUR}, {"started_at": NOON + HOUR}])
        patient.source.execute(
            "UPDATE orchestration.workflows SET name = 'Renamed' WHERE id = %s", [tenant.workflows[0]]
        )

    passed: list[FaultPoint] = []
    with refusing(patient, *guilty), watched_by(passed.append):
        report = patient.refresh()

    assert report.failed == tuple(FailedOrganization(each.organization, REFUSED) for each in guilty)
    # One more is that of the steps.
    assert passed.count(FaultPoint.BATCH_BEGUN) <= 1 + 2 * math.log2(len(tenants)) * len(guilty) + 1
    assert [everything_of(patient, tenant) for tenant in guilty] == before
    others = [tenant for tenant in tenants if tenant not in guilty]
    assert differences_of(patient, others) == []
    for key in (tenant.organization for tenant in others):
        assert patient.listed(key)
        assert cursor(patient, key) != before[0]["cursor"]
    first, second = outcomes_by_run(patient)
    assert first.keys() == second.keys() == {tenant.organization for tenant in tenants}
    rows = [*first.values(), *second.values()]
    assert all(0 < row["milliseconds"] < 60_000 for row in rows)
    failed = {tenant.organization for tenant in guilty}
    assert {(row["outcome"], row["error_class"]) for row in first.values()} == {("published", None)}
    assert {key: (row["outcome"], row["error_class"]) for key, row in second.items()} == {
        key: ("failed", REFUSED) if key in failed else ("published", None) for key in second
    }


@pytest.mark.parametrize(("state", "name"), [("P0001", REFUSED), ("XX001", "DataCorrupted")])
def test_an_organization_that_was_never_published_may_be_the_culprit(
    patient: Pipeline, state: str, name: str
) -> None:
    """Nothing of it appears, and everything of its neighbours, in the very first run.

    Whether a rule of its rows is broken or the server finds a page damaged. The status tells of it
    only what goes wrong.
    """
    culprit, *others = plant_tenants(patient, 5)

    with refusing(patient, culprit, state=state):
        report = patient.refresh()

    assert report.failed == (FailedOrganization(culprit.organization, name),)
    assert not any(everything_of(patient, culprit).values())
    assert differences(patient.cells(), of(others, cells_by_sql(patient.source))) == []
    found = {each.organization_id: each for each in patient.status().organizations}
    said = found.pop(culprit.organization)
    assert (said.failing, said.complete_through, said.cursor, said.cells) == (name, None, None, 0)
    assert [each.failing for each in found.values()] == [None] * len(others)


def test_a_run_fails_above_a_threshold_and_not_before_everything_is_committed(pipeline: Pipeline) -> None:
    """Two of ten are too many by default, one of ten is not; the other eight are published all the same."""
    tenants = plant_tenants(pipeline, 10)
    pipeline.refresh()
    for tenant in tenants:
        pipeline.plant_job(tenant)

    with (
        refusing(pipeline, *tenants[:2]),
        pytest.raises(TooManyFailures, match=f"2 of 10: {tenants[0].organization} {REFUSED}"),
    ):
        pipeline.refresh()

    others = tenants[2:]
    assert differences_of(pipeline, others) == []
    with refusing(pipeline, tenants[0]):
        assert len(pipeline.refresh().failed) == 1
    assert pipeline.having(tolerated_failures_pct=0).refresh().failed == ()


@pytest.mark.every_postgres
def test_an_organization_recovers_by_itself(patient: Pipeline) -> None:
    """When the trouble is over the next run publishes all that was missed, and the one after nothing."""
    culprit, *_ = plant_tenants(patient, 4)
    patient.refresh()
    with refusing(patient, culprit):
        for day in range(2):
            patient.plant_job(culprit, completed_at=NOON + day * DAY)
            assert patient.refresh().failed == (FailedOrganization(culprit.organization, REFUSED),)

    healed = patient.refresh()

    assert (healed.failed, healed.facts_inserted) == ((), 0)
    assert patient.differences() == []
    assert patient.verify().differences == ()
    assert patient.refresh().cells_written == 0


def test_a_new_definition_reaches_everybody_but_the_culprit(patient: Pipeline) -> None:
    """Cells are computed anew for all who can be written, and for the last one when it can be, too."""
    other_plan = load_settings(rollup_plan="hour=0 day=1 week=1 month=1").rollup_plan
    tenants = plant_tenants(patient, 8)
    patient.having(rollup_plan=other_plan).refresh()
    before = patient.row_versions(tenants[5].organization)

    with refusing(patient, tenants[5]):
        report = patient.refresh()

    others = [tenant for tenant in tenants if tenant != tenants[5]]
    assert report.failed == (FailedOrganization(tenants[5].organization, REFUSED),)
    assert differences_of(patient, others) == []
    assert patient.row_versions(tenants[5].organization) == before
    assert patient.refresh().failed == ()
    assert patient.differences() == []


def test_an_unknown_time_zone_concerns_nobody_else(patient: Pipeline) -> None:
    """Nobody can tell where its days begin, so its cells stay; its neighbours' days are known."""
    without_constraints(patient.source)
    culprit, *others = plant_tenants(patient, 3)
    patient.refresh()
    before = everything_of(patient, culprit)
    patient.live_in(culprit, "Mars/Olympus_Mons")
    patient.live_in(others[0], "Asia/Tokyo")
    for tenant in (culprit, *others):
        patient.plant_job(tenant, completed_at=NOON + 8 * HOUR)

    report = patient.refresh()

    assert report.failed == (FailedOrganization(culprit.organization, "UnknownTimeZone"),)
    assert everything_of(patient, culprit) == before
    assert outcomes_by_run(patient)[-1][culprit.organization]["error_class"] == "UnknownTimeZone"
    patient.live_in(culprit, "America/New_York")
    right = cells_by_sql(patient.source)
    assert differences(of(others, patient.cells()), of(others, right)) == []
    assert patient.refresh().failed == ()
    assert differences(patient.cells(), right) == []


@pytest.mark.every_postgres
def test_a_mass_deletion_is_guarded(patient: Pipeline) -> None:
    """Over a tenth and a thousand jobs or more: that organization stays as it is until somebody says so."""
    culprit, neighbour, small = plant_tenants(patient, 3)
    patient.plant_jobs(culprit, [{}] * 1_200)
    patient.plant_jobs(neighbour, [{}] * 1_200)
    patient.plant_jobs(small, [{}] * 999)
    patient.refresh()
    before = everything_of(patient, culprit)
    delete(patient, culprit, 1_000)
    delete(patient, neighbour, 100)
    delete(patient, small, 999)

    report = patient.reconcile(since=LONG_AGO, until=NOON + DAY)

    others = [neighbour, small]
    assert report.failed == (FailedOrganization(culprit.organization, "DeletesNotAccepted"),)
    assert report.facts_deleted == 1_099
    assert guard_of(patient, culprit)[1:] == (1_000, None)
    assert guard_of(patient, neighbour) == (None, None, None)
    assert everything_of(patient, culprit) == before
    assert open_facts(patient.settings).rows_by_organization()[culprit.organization] == 1_201
    assert differences_of(patient, others) == []
    patient.refresh()
    assert total(patient, culprit) == 1_201
    accepted = patient.reconcile(since=LONG_AGO, until=NOON + DAY, accept_deletes=True)
    assert (accepted.failed, accepted.facts_deleted) == ((), 1_000)
    assert patient.differences() == []
    assert guard_of(patient, culprit) == (None, None, None)


def test_guarded_deletes_stand_until_they_were_looked_for_again(patient: Pipeline) -> None:
    """A refresh publishes the organization and does not forget them; nor do checksums of fewer days."""
    culprit, _ = plant_tenants(patient, 2)
    patient.plant_jobs(culprit, [{}] * 1_200)
    patient.refresh()
    patient.source.execute("CREATE TABLE kept AS TABLE orchestration.jobs")
    delete(patient, culprit, 1_000)
    created, run = (NOON - 2 * MINUTE).date(), patient.run

    def standing() -> tuple[list[tuple[UUID, str]], set[str | None]]:
        named = [(each.organization_id, each.error_class) for each in standing_failures(run)]
        return named, {each.failing for each in patient.status().organizations}

    patient.reconcile_created(since=created)
    first, since = standing(), standing_failures(run)[0].failing_since
    patient.refresh()
    refreshed = standing()
    patient.reconcile_created(since=created + DAY)
    later_days = standing()
    patient.reconcile_created(since=created)
    again = standing_failures(run)[0].failing_since
    patient.source.execute("INSERT INTO orchestration.jobs TABLE kept ON CONFLICT DO NOTHING")
    patient.reconcile_created(since=created)

    named = ([(culprit.organization, "DeletesNotAccepted")], {"DeletesNotAccepted", None})
    assert (first, refreshed, later_days, again) == (named, named, named, since)
    assert standing() == ([], {None})


def test_sealed_history_outlives_its_jobs(pipeline: Pipeline) -> None:
    """What completed before EXECMETRICS_SEALED_BEFORE stays counted, and verify calls it sealed."""
    tenant, neighbour = plant_tenants(pipeline, 2)
    old = pipeline.plant_jobs(tenant, [{"completed_at": NOON - 40 * DAY}, {"completed_at": NOON - 9 * DAY}])
    new = pipeline.plant_job(tenant, completed_at=NOON + DAY)
    pipeline.plant_job(neighbour, completed_at=NOON - 40 * DAY)
    pipeline.refresh()
    sealed = pipeline.having(sealed_before=(NOON - 5 * DAY).date())
    pipeline.source.execute("DELETE FROM orchestration.jobs WHERE id = ANY(%s)", [[*old, new]])

    report = sealed.reconcile(since=LONG_AGO, until=NOON + 9 * DAY)

    assert report.facts_deleted == 1
    assert total(pipeline, tenant) == 3
    said = sealed.verify()
    assert said.differences == ()
    assert said.cells_sealed > 0
    # An edit of what is left in a sealed month is followed, and the sealed jobs stay in its cells.
    pipeline.plant_job(tenant, completed_at=NOON - 9 * DAY + MINUTE)
    sealed.refresh()
    assert total(pipeline, tenant) == 4
    assert sealed.verify().differences == ()
    # Without the seal they would go, and verify says so.
    assert pipeline.verify().differences != ()


def test_a_whale_comes_last_and_alone(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """An organization with little to publish does not wait for one with much."""
    monkeypatch.setattr("pipelines.publish.publisher.CHUNK_ROWS", 50)
    whale, *small = plant_tenants(pipeline, 5)
    pipeline.refresh()
    pipeline.plant_jobs(whale, [{}] * 60)
    for number, tenant in enumerate(small):
        pipeline.plant_jobs(tenant, [{}] * (5 * number))
    runs_before = {key: seen.run_id for key, seen in find_watermarks(pipeline.analytics, JOBS).items()}
    committed: list[set[UUID]] = []

    def watch(point: FaultPoint) -> None:
        if point is FaultPoint.AFTER_COMMIT:
            now = find_watermarks(pipeline.analytics, JOBS)
            committed.append({key for key in now if now[key].run_id != runs_before[key]})

    with watched_by(watch):
        pipeline.refresh()

    everybody = {whale.organization, *(tenant.organization for tenant in small)}
    # The last one is that of the steps.
    assert committed == [everybody - {whale.organization}, everybody, everybody]


def plant_tenants(pipeline: Pipeline, count: int) -> list[Tenant]:
    """Insert organizations with a job each."""
    tenants = [pipeline.plant_tenant(f"Tenant {number}") for number in range(count)]
    for tenant in tenants:
        pipeline.plant_job(tenant)
    return tenants


def delete(pipeline: Pipeline, tenant: Tenant, count: int) -> None:
    """Delete jobs of an organization for good."""
    pipeline.source.execute(
        "DELETE FROM orchestration.jobs WHERE id IN"
        " (SELECT id FROM orchestration.jobs WHERE organization_id = %s ORDER BY id LIMIT %s)",
        [tenant.organization, count],
    )


@contextmanager
def refusing(pipeline: Pipeline, *tenants: Tenant, state: str = "P0001") -> Iterator[None]:
    """Have the database refuse every cell of these organizations, with an SQLSTATE."""
    ids = ", ".join(f"'{tenant.organization}'" for tenant in tenants)
    pipeline.analytics.execute(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF new.organization_id IN ({ids}) THEN RAISE EXCEPTION 'never' USING ERRCODE = '{state}';"
        " END IF; RETURN new; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON analytics.aggregate_metrics"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        pipeline.analytics.execute("DROP FUNCTION refuse CASCADE")


def everything_of(pipeline: Pipeline, tenant: Tenant) -> dict[str, Any]:
    """All that is published of an organization, each cell with its row's version."""
    key = tenant.organization
    return {
        "cells": pipeline.row_versions(key),
        "cursor": cursor(pipeline, key),
        "completeness": pipeline.select(
            "SELECT to_jsonb(c) - 'guarded_at' - 'guarded_rows' - 'guarded_since'"
            " FROM analytics.watermarks AS c WHERE subject = 'jobs' AND organization_id = %s",
            [key],
        ),
        "names": pipeline.select(
            "SELECT id, name FROM analytics.workflows WHERE organization_id = %(key)s"
            " UNION SELECT id, time_zone FROM analytics.organizations WHERE id = %(key)s ORDER BY id",
            {"key": key},
        ),
        "anomalies": pipeline.listed(key),
    }


def guard_of(pipeline: Pipeline, tenant: Tenant) -> tuple[Any, ...]:
    """The delete guard of an organization: since when, how many rows, and the first day compared."""
    (found,) = pipeline.select(
        "SELECT guarded_at, guarded_rows, guarded_since FROM analytics.watermarks"
        " WHERE subject = 'jobs' AND organization_id = %s",
        [tenant.organization],
    )
    return found


def cursor(pipeline: Pipeline, organization: UUID) -> list[tuple[Any, ...]]:
    """How far an organization was read."""
    select = "SELECT checkpoint, swept_at FROM analytics.watermarks"
    return pipeline.select(f"{select} WHERE subject = 'jobs' AND organization_id = %s", [organization])


def outcomes_by_run(pipeline: Pipeline) -> Sequence[dict[UUID, dict[str, Any]]]:
    """The recorded outcomes of jobs by organization, for each run in their order."""
    runs: dict[UUID, dict[UUID, dict[str, Any]]] = {}
    with pipeline.analytics.cursor(row_factory=dict_row) as rows:
        for row in rows.execute(
            "SELECT * FROM analytics.refresh_outcomes WHERE subject = 'jobs' ORDER BY finished_at"
        ):
            runs.setdefault(row["run_id"], {})[row["organization_id"]] = row
    return list(runs.values())


def of(tenants: Sequence[Tenant], these: Cells) -> Cells:
    """The cells of these organizations."""
    organizations = {tenant.organization for tenant in tenants}
    return {key: cell for key, cell in these.items() if key[0] in organizations}


def differences_of(pipeline: Pipeline, tenants: Sequence[Tenant]) -> list[str]:
    """How the stored cells of these organizations differ from SQL on the source."""
    return differences(of(tenants, pipeline.cells()), of(tenants, cells_by_sql(pipeline.source)))


def total(pipeline: Pipeline, tenant: Tenant) -> int:
    """How many jobs the months of an organization count."""
    return sum(
        cell["total_executions"]
        for key, cell in pipeline.cells(tenant.organization).items()
        if (key[1], *key[3:]) == ("month", ALL, ALL, "all")
    )

"""An organization whose steps fail is on record until they succeed, and the others are published."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pipelines.errors import TooManyFailures
from pipelines.facts.fact_table import open_facts
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.checks import standing_failures
from pipelines.runs.dry_run import dry_run as preview
from pipelines.runs.refresh import FailedOrganization, reconcile_created, refresh
from pipelines.runs.status import status
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from pipelines.subjects.steps import STEPS
from tests.postgres.steps.conftest import change_line, step_cells
from tests.support.planting import DAY, NOON, Tenant, plant_job, plant_lines

REFUSED = "RaiseException"


pytestmark = pytest.mark.usefixtures("neighbour")


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings by which a run may be good although most organizations failed."""
    return settings.model_copy(update={"tolerated_failures_pct": 100})


def test_who_failed_is_named_and_then_made_good_alone(
    databases: Databases,
    patient: Settings,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tenant: Tenant,
    neighbour: Tenant,
) -> None:
    """It is cleared by success; where the feed is lost, who lags is computed as a whole and nobody else."""
    lines = []
    for each in (tenant, neighbour):
        lines += plant_lines(source, each, plant_job(source, each), [{"step_name": "send"}])
    refresh(databases, patient)
    for line in lines:
        change_line(source, line, level="ERROR")

    with refusing_steps(analytics, tenant):
        report = refresh(databases, patient)
        standing = failing(databases, patient)
        with pytest.raises(TooManyFailures, match=f"steps of 1 of 2: {tenant.organization} {REFUSED}"):
            refresh(databases, settings)
    for file in (Path(patient.step_facts_location) / "_change_data").rglob("*.parquet"):
        file.unlink()
    plant_lines(source, neighbour, plant_job(source, neighbour), [{"step_name": "new"}])
    mended = refresh(databases, patient)

    assert (report.failed, report.steps.failed) == ((), (FailedOrganization(tenant.organization, REFUSED),))
    assert standing == [(tenant.organization, "steps", REFUSED)]
    assert failing(databases, patient) == []
    assert mended.steps.cells_computed == len(step_cells(analytics, tenant.organization)) + 8
    assert verify(databases, patient).steps.differences == ()


def test_withheld_deletes_of_steps_stand_until_they_are_accepted(
    databases: Databases,
    patient: Settings,
    source: psycopg.Connection,
    tenant: Tenant,
) -> None:
    """A refresh between two comparisons forgives nothing; a dry run tells of them, and of other changes."""
    lines = plant_lines(source, tenant, plant_job(source, tenant), [{"step_name": "send"}] * 1_200)
    refresh(databases, patient)
    source.execute("DELETE FROM orchestration.execution_logs WHERE id = ANY(%s)", [lines[:1_100]])
    named = [(tenant.organization, "steps", "DeletesNotAccepted")]

    withheld = reconcile_created(databases, patient)
    first = failing(databases, patient)
    refresh(databases, patient)
    refreshed = failing(databases, patient)
    change_line(source, lines[-1], step_name="open")
    version = open_facts(patient, STEPS.fact).version
    (proposed,) = preview(databases, patient, since=NOON - DAY, until=NOON + DAY)
    unchanged = open_facts(patient, STEPS.fact).version == version
    accepted = reconcile_created(databases, patient, accept_deletes=True)

    assert withheld.steps.failed == (FailedOrganization(tenant.organization, "DeletesNotAccepted"),)
    assert (first, refreshed) == (named, named)
    assert (proposed.organization_id, proposed.jobs.cells) == (tenant.organization, 0)
    assert (proposed.steps.rows, proposed.steps.deletes_guarded, unchanged) == (1, 1_100, True)
    assert (accepted.steps.facts_deleted, failing(databases, patient)) == (1_100, [])
    assert verify(databases, patient).steps.differences == ()


def failing(databases: Databases, settings: Settings) -> list[tuple[object, str, str]]:
    """What stands as broken, and is in the status too."""
    said = {each.organization_id: each for each in status(databases, settings).organizations}
    standing = standing_failures(Run(databases, settings))
    in_status = {key for key, each in said.items() if each.failing or each.steps_failing}
    assert in_status == {each.organization_id for each in standing}
    for each in standing:
        assert said[each.organization_id].steps_failing == each.error_class
    return [(each.organization_id, str(each.subject), each.error_class) for each in standing]


@contextmanager
def refusing_steps(analytics: psycopg.Connection, tenant: Tenant) -> Iterator[None]:
    """Have the database refuse every cell of steps of this organization."""
    analytics.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF new.organization_id = '{tenant.organization}' THEN RAISE 'never'; END IF; RETURN new; END $$"
    )
    analytics.execute(
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON analytics.aggregate_step_metrics"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        analytics.execute("DROP FUNCTION refuse CASCADE")

"""Each check is silent about right tables, and speaks up about a fault that was planted."""

from itertools import product

import dagster as dg
import psycopg
import pytest
from deltalake import DeltaTable

from pipelines.runs import checks as sanity
from tests.support.dagster_runs import checks_run, refresh_run, verdicts
from tests.support.oracle import ALL
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, NOON, Tenant, new_id, plant_lines

pytestmark = pytest.mark.usefixtures("configured")

ALL_CHECKS = (
    ADDS_UP,
    COUNTED_ONCE,
    FEW_LEFT_OUT,
    AUDIT,
    PUBLISHED,
    NOTHING_BROKEN,
    COMPLETE,
    STEPS_PUBLISHED,
    STEPS,
    STEPS_COUNTED_ONCE,
    IN_ITS_MONTH,
) = (
    "parts_add_up_to_the_whole",
    "every_fact_is_counted_once",
    "few_jobs_are_not_counted",
    "cells_equal_the_source",
    "every_organization_was_published",
    "nothing_is_still_broken",
    "metrics_are_complete",
    "all_steps_were_published",
    "steps_are_complete",
    "all_steps_are_counted_once",
    "every_line_is_in_its_month",
)

# The audit repairs what it finds, and nobody can say whether another check looks before or after.
LOOKING = (ADDS_UP, COUNTED_ONCE, FEW_LEFT_OUT)


@pytest.fixture
def tenant(pipeline: Pipeline) -> Tenant:
    """One of two tenants with jobs in many combinations, refreshed."""
    tenants = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for one in tenants:
        pipeline.plant_jobs(one, mixed_jobs(one))
    pipeline.refresh()
    return tenants[0]


@pytest.mark.usefixtures("tenant")
def test_right_tables_pass() -> None:
    """The checks can be run alone, and find nothing."""
    result = checks_run()

    assert result.success
    assert verdicts(result) == dict.fromkeys((*ALL_CHECKS, "metadata_equals_its_sources"), True)


def test_a_lost_cell_stops_the_run(tenant: Tenant, pipeline: Pipeline) -> None:
    """A row that is gone leaves its bucket short, and that is an error."""
    pipeline.analytics.execute(
        "DELETE FROM analytics.aggregate_metrics WHERE ctid = %s::tid",
        [single_cell(pipeline.analytics, tenant, "day", "client_id")],
    )

    result = checks_run(*LOOKING)

    assert not result.success
    assert verdicts(result) == {ADDS_UP: False, COUNTED_ONCE: True, FEW_LEFT_OUT: True}
    assert found(result, ADDS_UP) == {"buckets_that_do_not_add_up": 1}


@pytest.mark.parametrize("dimension", ["workflow_id", "client_id", "initiator_type"])
def test_any_wrong_count_is_noticed(dimension: str, tenant: Tenant, pipeline: Pipeline) -> None:
    """A row lost, a job too many, a success called a failure: in every period, by every dimension."""
    damages = [
        "DELETE FROM {table}",
        "UPDATE {table} SET total_executions = total_executions + 1,"
        " failed_executions = failed_executions + 1",
        "UPDATE {table} SET completed_executions = completed_executions - 1,"
        " failed_executions = failed_executions + 1",
    ]
    pipeline.analytics.execute("CREATE TEMP TABLE right_ones AS SELECT * FROM analytics.aggregate_metrics")
    for period, damage in product(("hour", "day", "week", "month"), damages):
        cell = single_cell(pipeline.analytics, tenant, period, dimension)

        pipeline.analytics.execute(
            damage.format(table="analytics.aggregate_metrics") + f" WHERE ctid = '{cell}'"
        )

        assert broken_buckets(pipeline) == 1, (
            period,
            damage,
        )
        pipeline.analytics.execute("DELETE FROM analytics.aggregate_metrics")
        pipeline.analytics.execute("INSERT INTO analytics.aggregate_metrics SELECT * FROM right_ones")
        assert broken_buckets(pipeline) == 0


def test_cells_of_an_older_definition_need_not_add_up(tenant: Tenant, pipeline: Pipeline) -> None:
    """Of an organization that waits to be computed anew nobody says how it is broken down."""
    pipeline.analytics.execute(
        "DELETE FROM analytics.aggregate_metrics WHERE period = 'hour' AND client_id <> %s", [ALL]
    )
    whole = broken_buckets(pipeline)
    pipeline.analytics.execute(
        "UPDATE analytics.watermarks SET definition_version = 0 WHERE organization_id = %s",
        [tenant.organization],
    )

    left = broken_buckets(pipeline)

    assert whole == 2 * left > 0


def test_a_lost_month_is_noticed(tenant: Tenant, pipeline: Pipeline) -> None:
    """A whole bucket that is gone adds up; the facts know of its jobs, and the tenant is named."""
    pipeline.analytics.execute(
        "DELETE FROM analytics.aggregate_metrics WHERE organization_id = %s AND period = 'month'",
        [tenant.organization],
    )

    result = checks_run(*LOOKING)

    assert verdicts(result) == {ADDS_UP: True, COUNTED_ONCE: False, FEW_LEFT_OUT: True}
    assert found(result, COUNTED_ONCE) == {
        "organizations_that_differ": 1,
        "examples": str(tenant.organization),
    }


def test_a_lost_fact_is_noticed(tenant: Tenant, pipeline: Pipeline) -> None:
    """The aggregates count a job and a step that the facts no longer have: their tenants are named."""
    another = pipeline.plant_tenant("Another")
    for one in (tenant, another):
        (job,) = pipeline.plant_jobs(one, [{}])
        plant_lines(pipeline.source, one, job, [{"step_name": "send"}])
    pipeline.refresh()
    DeltaTable(pipeline.settings.facts_location).delete(
        f"organization_id = X'{tenant.organization.hex}' AND status = 'FAILED'"
    )
    steps = DeltaTable(pipeline.settings.step_facts_location)
    steps.delete(f"organization_id = X'{another.organization.hex}'")

    result = checks_run(*LOOKING, STEPS_COUNTED_ONCE)

    assert result.success, "a warning does not stop anything"
    assert verdicts(result) == {
        ADDS_UP: True,
        COUNTED_ONCE: False,
        FEW_LEFT_OUT: True,
        STEPS_COUNTED_ONCE: False,
    }
    assert found(result, COUNTED_ONCE)["examples"] == str(tenant.organization)
    assert found(result, STEPS_COUNTED_ONCE)["examples"] == str(another.organization)


def test_many_jobs_that_cannot_be_counted_are_noticed(tenant: Tenant, pipeline: Pipeline) -> None:
    """More than one in a hundred warns, in the very run that finds them; one in a hundred does not."""
    few = [{"started_at": None, "id": new_id()}]
    pipeline.plant_jobs(tenant, [{"id": new_id()} for _ in range(99 - 2 * len(mixed_jobs(tenant)))] + few)
    quiet = refresh_run(NOON)

    pipeline.plant_jobs(tenant, [{"started_at": None}])
    loud = refresh_run(NOON)

    assert verdicts(quiet)[FEW_LEFT_OUT]
    assert found(quiet, FEW_LEFT_OUT) == {"not_counted_pct": 1.0, "missing_timestamp": 1}
    assert not verdicts(loud)[FEW_LEFT_OUT]
    assert found(loud, FEW_LEFT_OUT) == {"not_counted_pct": 1.98, "missing_timestamp": 2}
    assert loud.success, "a warning does not stop anything"


def test_jobs_that_are_counted_untimed_do_not_warn(tenant: Tenant, pipeline: Pipeline) -> None:
    """A negative duration is listed, and its job is counted all the same."""
    pipeline.plant_jobs(tenant, [{"started_at": NOON + HOUR} for _ in range(50)])

    result = refresh_run(NOON)

    assert verdicts(result)[FEW_LEFT_OUT]
    assert found(result, FEW_LEFT_OUT) == {"not_counted_pct": 0.0, "negative_duration": 50}


def test_an_organization_left_behind_is_named(tenant: Tenant, pipeline: Pipeline) -> None:
    """It warns in the run that fails and ever after, until its jobs and its steps are published again."""
    pipeline.analytics.execute(refusing(tenant, "aggregate_metrics"))
    pipeline.analytics.execute(refusing(tenant, "aggregate_step_metrics"))
    (job,) = pipeline.plant_jobs(tenant, [{}])
    plant_lines(pipeline.source, tenant, job, [{"step_name": "send"}])
    for number in range(20):
        neighbour = pipeline.plant_tenant(f"Neighbour {number}")

    failing = refresh_run(NOON)
    pipeline.refresh(organization_ids=[neighbour.organization])
    standing = checks_run(NOTHING_BROKEN, PUBLISHED, STEPS_PUBLISHED)
    pipeline.analytics.execute("DROP TRIGGER refuse ON analytics.aggregate_metrics")
    pipeline.analytics.execute("DROP TRIGGER refuse ON analytics.aggregate_step_metrics")
    healed = refresh_run(NOON)

    assert failing.success, "one of many does not stop the run"
    assert not verdicts(failing)[PUBLISHED]
    named = {"organizations_failed": 1, "organizations": f"{tenant.organization} RaiseException"}
    assert (found(failing, PUBLISHED), found(failing, STEPS_PUBLISHED)) == (named, named)
    assert verdicts(standing) == {NOTHING_BROKEN: False, PUBLISHED: False, STEPS_PUBLISHED: False}
    broken = found(standing, NOTHING_BROKEN)
    assert broken["organizations_broken"] == 1
    for subject in ("jobs", "steps"):
        assert f"{tenant.organization} {subject} RaiseException since" in broken["organizations"]
    # Whether lines are in their months, the metrics do not depend on.
    assert verdicts(healed) | {IN_ITS_MONTH: True} == dict.fromkeys(ALL_CHECKS, True)


def test_metrics_that_are_not_complete_for_long_are_named(tenant: Tenant, pipeline: Pipeline) -> None:
    """An organization that is complete no further than the limit is behind; its neighbour stays unnamed."""
    pipeline.analytics.execute(
        "UPDATE analytics.watermarks SET complete_through = complete_through - interval '4 hours'"
        " WHERE organization_id = %s",
        [tenant.organization],
    )

    result = checks_run(COMPLETE)

    assert result.success, "a warning does not stop anything"
    assert found(result, COMPLETE)["organizations_behind"] == 1
    assert found(result, COMPLETE)["organizations"].startswith(str(tenant.organization))


def broken_buckets(pipeline: Pipeline) -> int:
    """How many buckets do not add up."""
    return sanity.buckets_that_do_not_add_up(pipeline.run)


def refusing(tenant: Tenant, table: str) -> str:
    """A trigger that lets no cell of one organization be written."""
    return f"""
        CREATE OR REPLACE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON analytics.{table} FOR EACH ROW
            WHEN (NEW.organization_id = '{tenant.organization}') EXECUTE FUNCTION pg_temp.refuse();
        """


def mixed_jobs(tenant: Tenant) -> list[dict[str, object]]:
    """Jobs of two workflows, with and without a client, in three hours of two days, one in three failed."""
    return [
        {
            "workflow_id": tenant.workflows[number % 2],
            "client_id": [*tenant.clients, None][number % 3],
            "initiator_type": ["USER", "SCHEDULE", None][number % 3],
            "status": "FAILED" if number % 3 == 0 else "COMPLETED",
            "completed_at": NOON + (number % 2) * DAY + (number % 3) * HOUR,
        }
        for number in range(12)
    ]


def single_cell(analytics: psycopg.Connection, tenant: Tenant, period: str, dimension: str) -> str:
    """Where a row with some successes lies that breaks its bucket down by one dimension alone."""
    nil = "00000000-0000-0000-0000-000000000000"
    values = {"workflow_id": nil, "client_id": nil, "initiator_type": "all"}
    conditions = [f"{name} {'<>' if name == dimension else '='} %({name})s" for name in values]
    row = analytics.execute(
        "SELECT ctid::text FROM analytics.aggregate_metrics"
        " WHERE organization_id = %(organization)s AND period = %(period)s AND completed_executions > 0"
        f" AND {' AND '.join(conditions)} ORDER BY period_start LIMIT 1",
        {**values, "organization": tenant.organization, "period": period},
    ).fetchone()
    return row[0]


def test_steps_that_are_behind_are_named(tenant: Tenant, pipeline: Pipeline) -> None:
    """Steps that were read longer ago than the limit allows, or never, although their jobs are published."""
    pipeline.analytics.execute(
        "UPDATE analytics.watermarks SET complete_through = '2024-01-31 12:00Z'"
        " WHERE subject = 'steps' AND organization_id = %s",
        [tenant.organization],
    )
    late = checks_run()
    pipeline.analytics.execute(
        "DELETE FROM analytics.watermarks WHERE subject = 'steps' AND organization_id = %s",
        [tenant.organization],
    )
    never = checks_run()

    assert (verdicts(late)[STEPS], verdicts(never)[STEPS]) == (False, False)
    assert found(late, STEPS)["organizations"] == f"{tenant.organization} 2024-01-31 12:00Z"
    assert found(never, STEPS)["organizations"] == f"{tenant.organization} never"


def found(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    """What a check shows beside its verdict."""
    check = next(check for check in result.get_asset_check_evaluations() if check.check_name == name)
    return {key: entry.value for key, entry in check.metadata.items()}

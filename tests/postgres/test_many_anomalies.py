"""Many rows that cannot be taken at face value, among good ones: nothing is dropped silently."""

import psycopg

from tests.support.pipeline import Pipeline
from tests.support.planting import without_constraints
from tests.support.sampling import EVERYTHING

KINDS = 10
MALFORMED, GOOD = (500_000, 60_000) if EVERYTHING else (10_000, 1_200)

# One kind of trouble for each remainder, in a source that accepts it: see `without_constraints`.
PLANT = """
    INSERT INTO orchestration.jobs (
        id, organization_id, workflow_id, client_id, initiator_type, status, created_at, started_at,
        completed_at, updated_at
    )
    SELECT
        gen_random_uuid(), organization_id,
        CASE kind
            WHEN 5 THEN '00000000-0000-0000-0000-000000000000' WHEN 6 THEN %(their_workflow)s
            ELSE %(workflow)s
        END::uuid,
        CASE kind WHEN 7 THEN %(their_client)s ELSE %(client)s END::uuid,
        CASE WHEN kind = 5 AND number %% 20 = 5 THEN 'all' ELSE 'USER' END,
        CASE kind WHEN 8 THEN 'ARCHIVED' ELSE 'COMPLETED' END::orchestration.job_status,
        moment - interval '1 hour',
        CASE kind
            WHEN 0 THEN moment + interval '1 minute' WHEN 1 THEN NULL WHEN 2 THEN '-infinity'
            ELSE moment - interval '1 minute'
        END,
        CASE kind
            WHEN 3 THEN '1999-12-31 23:59:59.999999Z' WHEN 4 THEN now() + interval '3 days'
            WHEN 9 THEN '20000-01-01Z' ELSE moment
        END,
        CASE kind WHEN 2 THEN 'infinity' ELSE moment END
    FROM (
        SELECT
            number, number %% %(kinds)s AS kind, %(organization)s::uuid AS organization_id,
            timestamptz '2024-01-01Z' + number * interval '10 seconds' AS moment
        FROM generate_series(0, %(rows)s - 1) AS number
    ) AS planned
"""

# What the contract says of each kind.
REASONS = {
    # Who completed before 2000 also completed before the start.
    "negative_duration": 2,
    "missing_timestamp": 1,
    "infinite_timestamp": 1,
    "timestamp_out_of_range": 2,
    "future_timestamp": 1,
    "reserved_identifier": 1,
    "foreign_workflow": 1,
    "foreign_client": 1,
    "unknown_status": 1,
}


def test_malformed_rows_are_all_accounted_for(pipeline: Pipeline) -> None:
    """Counted plus listed is all there is, good rows are counted right, and repaired ones come back."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    without_constraints(pipeline.source)
    plan = {
        "organization": tenant.organization,
        "workflow": tenant.workflows[0],
        "client": tenant.clients[0],
        "their_workflow": neighbour.workflows[0],
        "their_client": neighbour.clients[0],
    }
    pipeline.source.execute(PLANT, plan | {"kinds": KINDS, "rows": MALFORMED})
    # Beyond the last kind nothing is wrong.
    pipeline.source.execute(PLANT.replace("number %% %(kinds)s", "100"), plan | {"rows": GOOD})
    mine_too = plan | {"organization": neighbour.organization, "workflow": neighbour.workflows[0]}
    mine_too |= {"client": neighbour.clients[0], "rows": 100}
    pipeline.source.execute(PLANT.replace("number %% %(kinds)s", "100"), mine_too)

    first = pipeline.refresh()
    stored = pipeline.row_versions()
    second = pipeline.refresh()

    each = MALFORMED // KINDS
    assert listed_by_reason(pipeline.analytics) == {reason: kinds * each for reason, kinds in REASONS.items()}
    assert first.anomalies == sum(REASONS.values()) * each
    assert accounted_for(pipeline.source, pipeline.analytics) == (MALFORMED + GOOD + 100,) * 2
    assert (second.cells_written, second.cells_deleted, second.facts_inserted) == (0, 0, 0)
    assert pipeline.row_versions() == stored
    report = pipeline.verify()
    assert (report.differences, report.cells_pending) == ((), 0)
    assert report.cells_compared == len(pipeline.cells())

    pipeline.source.execute(
        "UPDATE orchestration.jobs SET started_at = completed_at - interval '1 second'"
        " WHERE started_at IS NULL OR started_at > completed_at"
    )
    third = pipeline.refresh()

    assert (third.facts_inserted, third.facts_updated) == (each, each)
    assert listed_by_reason(pipeline.analytics).keys() == REASONS.keys() - {
        "negative_duration",
        "missing_timestamp",
    }
    assert accounted_for(pipeline.source, pipeline.analytics) == (MALFORMED + GOOD + 100,) * 2
    assert pipeline.verify().differences == ()


def listed_by_reason(analytics: psycopg.Connection) -> dict[str, int]:
    """How many jobs are listed for each reason."""
    rows = analytics.execute("SELECT reason, count(*) FROM analytics.job_anomalies GROUP BY reason")
    return dict(rows.fetchall())


def accounted_for(source: psycopg.Connection, analytics: psycopg.Connection) -> tuple[int, int]:
    """The two sides of the conservation law: what the source reports, and what is counted or listed."""
    reported = source.execute(
        "SELECT count(*) FROM orchestration.jobs"
        " WHERE deleted_at IS NULL AND status::text NOT IN ('PENDING', 'RUNNING', 'CANCELLED')"
    ).fetchone()
    kept = analytics.execute(
        "SELECT (SELECT coalesce(sum(total_executions), 0) FROM analytics.aggregate_metrics WHERE"
        " period = 'month' AND workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all')"
        " + (SELECT count(DISTINCT job_id) FROM analytics.job_anomalies WHERE effect = 'not_counted')",
        {"all": "00000000-0000-0000-0000-000000000000"},
    ).fetchone()
    return reported[0], int(kept[0])

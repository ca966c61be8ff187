"""The generated month looks like the work of real clinics, and is the same wherever it is generated."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pipelines.devtools.generated_month import GeneratedMonth, generate_month, serves_others
from pipelines.errors import SchemaMissing
from pipelines.postgres.connections import Databases, Run, Stages
from pipelines.postgres.migrations import downgrade
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings, load_settings
from tests.conftest import Cluster, CreateDatabase, with_database
from tests.support.planting import plant_job, plant_tenant

TABLES = ("organizations", "workflows", "clients", "jobs")

SMALL = {"organizations": 5, "jobs": 3_000, "days": 10}

# What the rows of the small month hash to; another figure means that yesterday's screenshots are wrong.
SMALL_CHECKSUM = 387101986033712948702


@pytest.fixture(scope="module")
def month(
    cluster: Cluster, create_shared_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[psycopg.Connection, GeneratedMonth]]:
    """The demo's own month, generated once, and a connection to look at it."""
    url = create_shared_database(cluster("embedded"))
    made = generate_month(Run(Databases(url, url), load_settings(home=tmp_path_factory.mktemp("month"))))
    with psycopg.connect(url, autocommit=True) as source:
        yield source, made


def test_the_month_has_organizations_of_very_different_size(month) -> None:
    """Two dozen tenants and some 240,000 jobs; the first tenant has as many as the last dozen and more."""
    source, made = month

    sizes = ask(source, "SELECT organization_id, count(*) FROM orchestration.jobs GROUP BY 1 ORDER BY 2 DESC")

    assert [organization for organization, _ in sizes] == list(made.organization_ids)
    assert len(sizes) >= 20
    assert sum(size for _, size in sizes) == made.jobs >= 200_000
    assert abs(made.jobs - 240_000) < 2_400
    assert sizes[0][1] > 25 * sizes[-1][1]
    assert sizes[0][1] > sum(size for _, size in sizes[12:])
    assert (made.workflows, made.clients) == tuple(
        ask(source, f"SELECT count(*) FROM orchestration.{table}")[0][0] for table in ("workflows", "clients")
    )


def test_the_month_is_the_month_that_it_says(month) -> None:
    """Every job is created in [since, until), and nothing is over or deleted after it."""
    source, made = month

    first, last, end = ask(
        source,
        "SELECT min(created_at), max(created_at), max(greatest(completed_at, deleted_at))"
        " FROM orchestration.jobs",
    )[0]

    assert made.since <= first < last < made.until
    assert end < made.until == made.since + timedelta(days=30)
    assert made.until < datetime.now(UTC)


def test_the_month_has_days_and_nights_and_weekends(month) -> None:
    """Clinics work by their own clock and hardly on Sundays; files are sent at night."""
    source, _ = month
    by_hour = """
        SELECT extract(hour FROM j.created_at AT TIME ZONE o.time_zone)::int, count(*)
        FROM orchestration.jobs AS j
        JOIN orchestration.organizations AS o ON o.id = j.organization_id
        JOIN orchestration.workflows AS w ON w.id = j.workflow_id
        WHERE w.name = %s GROUP BY 1
    """

    office, night = (dict(ask(source, by_hour, name)) for name in ("Eligibility check", "Claim submission"))
    by_day = "SELECT extract(isodow FROM created_at)::int, count(*) FROM orchestration.jobs GROUP BY 1"
    weekdays = dict(ask(source, by_day))

    assert office[10] > 20 * office[3]
    assert night[2] > 10 * night[10]
    assert weekdays[7] < weekdays[6] < weekdays[5] / 2


def test_failed_jobs_are_tried_again(month) -> None:
    """Most failures are followed by a job of the same kind within ten minutes, few successes are."""
    source, made = month

    by_status = """
        SELECT status::text, avg(coalesce(next - completed_at <= interval '600 s', false)::int)::float
        FROM (
            SELECT status, completed_at, lead(created_at) OVER (
                PARTITION BY workflow_id, client_id, initiator_type ORDER BY created_at
            ) AS next
            FROM orchestration.jobs WHERE organization_id = ANY (%s)
        ) AS followed
        WHERE status IN ('COMPLETED', 'FAILED') GROUP BY 1
    """
    followed = dict(ask(source, by_status, list(made.organization_ids[12:])))

    assert followed["FAILED"] > 0.5
    assert followed["COMPLETED"] < 0.1


def test_one_bad_deployment_makes_one_workflow_fail_for_six_hours(month) -> None:
    """Nearly everything that it starts in those hours fails, and nothing else of the month looks like it."""
    source, made = month
    bad = made.bad_deployment

    failing = ask(
        source,
        """
        SELECT organization_id, workflow_id, date_bin('6 hours', created_at, %s) AS since
        FROM orchestration.jobs WHERE status IN ('COMPLETED', 'FAILED')
        GROUP BY 1, 2, 3
        HAVING count(*) >= 10 AND avg((status = 'FAILED')::int) > 0.9
        """,
        bad.since,
    )
    rest = "WHERE workflow_id = %s AND NOT (created_at >= %s AND created_at < %s)"
    average = f"SELECT avg((status = 'FAILED')::int)::float FROM orchestration.jobs {rest}"
    usually = ask(source, average, bad.workflow_id, bad.since, bad.until)[0][0]

    assert failing == [(bad.organization_id, bad.workflow_id, bad.since)]
    assert bad.until - bad.since == timedelta(hours=6)
    assert usually < 0.15


def test_the_month_has_what_a_pipeline_must_bear(month) -> None:
    """Jobs without client or initiator, deleted ones, unfinished ones, and clocks that ran backwards."""
    source, made = month

    found = ask(
        source,
        """
        SELECT
            count(*) FILTER (WHERE client_id IS NULL), count(*) FILTER (WHERE initiator_type IS NULL),
            count(*) FILTER (WHERE deleted_at IS NOT NULL), count(*) FILTER (WHERE completed_at < started_at),
            count(*) FILTER (WHERE status = 'CANCELLED'), count(*) FILTER (WHERE status = 'RUNNING'),
            count(*) FILTER (WHERE status = 'PENDING'), count(*) FILTER (WHERE completed_at >= started_at)
        FROM orchestration.jobs
        """,
    )[0]

    assert all(0 < count < made.jobs / 4 for count in found[:-1])
    assert found[-1] > made.jobs * 0.95


@pytest.mark.every_postgres
@pytest.mark.parametrize("superuser", [False, True])
def test_a_month_is_the_same_on_every_machine(
    superuser: bool, server: str, databases: Databases, settings: Settings
) -> None:
    """Every column of every row follows from the plan alone, whichever version of PostgreSQL generates it.

    A superuser skips the foreign keys, which another owner checks; the rows are the same.
    """
    if superuser:
        url = with_database(server, conninfo_to_dict(databases.source_url)["dbname"])
        databases = Databases(url, url)

    made = generate_month(Run(databases, settings), **SMALL)

    assert (made.created, checksum(databases)) == (True, SMALL_CHECKSUM)


def test_another_seed_is_another_month(
    databases: Databases, settings: Settings, create_database: CreateDatabase
) -> None:
    """The plan decides everything: a different seed has other ids, other sizes of days, other failures."""
    url = create_database()
    other = Databases(url, url)

    first = generate_month(Run(databases, settings), **SMALL)
    second = generate_month(Run(other, settings), **SMALL, seed=2)

    assert not set(first.organization_ids) & set(second.organization_ids)
    assert checksum(databases) != checksum(other)


def test_a_month_that_is_there_is_left_alone(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """Asking again writes nothing, not even over an edited row, and describes the same month."""
    first = generate_month(Run(databases, settings), **SMALL)
    source.execute("UPDATE orchestration.jobs SET initiator_type = 'EDITED'")
    before = checksum(databases)

    second = generate_month(Run(databases, settings), **SMALL)

    assert (first.created, second.created) == (True, False)
    assert checksum(databases) == before
    assert second.bad_deployment == first.bad_deployment
    assert (second.jobs, second.workflows, second.clients) == (first.jobs, first.workflows, first.clients)


def test_a_generated_month_can_be_measured(databases: Databases, settings: Settings) -> None:
    """A refresh after it agrees with plain SQL on the source, oddities and all."""
    generate_month(Run(databases, settings), **SMALL)

    report = refresh(Run(databases, settings))

    assert report.organizations == SMALL["organizations"]
    assert verify(Run(databases, settings)).differences == ()


def test_the_sizes_that_the_benchmark_asks_for_are_kept(databases: Databases, settings: Settings) -> None:
    """Two hundred organizations are two hundred tenants with jobs, and about so many jobs as asked for."""
    made = generate_month(Run(databases, settings), organizations=200, jobs=20_000)

    assert len(made.organization_ids) == 200
    assert made.jobs == pytest.approx(20_000, rel=0.02)
    with psycopg.connect(databases.source_url) as source:
        assert ask(source, "SELECT count(DISTINCT organization_id) FROM orchestration.jobs") == [(200,)]


def test_a_neighbour_is_noticed_and_left_alone(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """The demo asks before it adds its month to a source that serves somebody already."""
    empty = serves_others(Run(databases, settings))
    tenant = plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    before = ask(source, "SELECT xmin::text FROM orchestration.jobs WHERE id = %s", job)

    noticed = serves_others(Run(databases, settings))
    made = generate_month(Run(databases, settings), **SMALL)

    assert (empty, noticed) == (False, True)
    assert tenant.organization not in made.organization_ids
    assert ask(source, "SELECT xmin::text FROM orchestration.jobs WHERE id = %s", job) == before


def test_a_database_without_tables_says_what_to_run(databases: Databases, settings: Settings) -> None:
    """Generating before migrating names the command."""
    downgrade(Run(databases, settings), branch="orchestration", revision="base")

    with pytest.raises(SchemaMissing, match="run `execmetrics migrate` first"):
        generate_month(Run(databases, settings), **SMALL)


def test_progress_is_told_day_by_day(databases: Databases, settings: Settings) -> None:
    """Progress tells after each day how many jobs have been written so far."""
    heard: list[int] = []

    followed = Stages(lambda _stage, written: heard.append(written))
    made = generate_month(Run(databases, settings, followed), **SMALL)

    assert len(heard) == SMALL["days"]
    assert heard == sorted(heard)
    assert heard[-1] == made.jobs


def ask(source: psycopg.Connection, question: str, *values: Any) -> list[tuple]:
    """All rows of an answer."""
    return source.execute(question, values or None).fetchall()


def checksum(databases: Databases) -> int:
    """One number for every column of every row of the source, whatever their order."""
    summed = "SELECT coalesce(sum(hashtextextended(t::text, 0)), 0) FROM orchestration.{} AS t"
    with psycopg.connect(databases.source_url) as source:
        source.execute("SET TimeZone = 'UTC'")
        return sum(int(ask(source, summed.format(table))[0][0]) for table in TABLES)

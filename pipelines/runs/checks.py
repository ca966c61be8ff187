"""Questions whose answers say whether the tables can be right, asked of all organizations at once."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipelines.errors import DeletesNotAccepted
from pipelines.executions.log_partitions import count_lines_without, why_not_ours
from pipelines.facts.fact_table import open_facts
from pipelines.postgres.connections import Databases, connect
from pipelines.postgres.statements import statement
from pipelines.settings import Settings
from pipelines.state.definitions import find_version
from pipelines.state.stored_cells import count_jobs
from pipelines.subjects.definition import definition
from pipelines.subjects.dimensions import ALL_OF_EACH
from pipelines.subjects.outcomes import OutcomeOf
from pipelines.subjects.rollup import Mask


@dataclass(frozen=True)
class Anomalies:
    """Listed jobs by reason, and the percentage of finished jobs that cannot be counted."""

    jobs_by_reason: dict[str, int]
    not_counted_pct: float


@dataclass(frozen=True)
class StandingFailure:
    """An organization whose `subject` failed when last tried, or has deletes withheld, and since when."""

    organization_id: UUID
    subject: OutcomeOf
    error_class: str
    failing_since: datetime


def organizations_left_behind(
    databases: Databases, settings: Settings, subject: OutcomeOf
) -> dict[UUID, str]:
    """Whose jobs, or steps, could not be published when last tried, and the class of what went wrong."""
    with connect(databases.analytics_url, settings) as connection:
        values = {"subject": subject}
        return dict(connection.execute(statement("checks/organizations_left_behind"), values).fetchall())


def standing_failures(databases: Databases, settings: Settings) -> list[StandingFailure]:
    """What is still broken, whichever run it was that failed."""
    with connect(databases.analytics_url, settings) as connection:
        withheld = {"withheld": DeletesNotAccepted.__name__}
        rows = connection.execute(statement("checks/standing_failures"), withheld).fetchall()
    return [StandingFailure(key, OutcomeOf(subject), *row) for key, subject, *row in rows]


def lagging_organizations(databases: Databases, settings: Settings) -> dict[UUID, datetime]:
    """Who is complete no further than EXECMETRICS_LAG_LIMIT ago, and how far they are."""
    with connect(databases.analytics_url, settings) as connection:
        return dict(
            connection.execute(
                statement("checks/lagging_organizations"), {"lag": settings.lag_limit}
            ).fetchall()
        )


def organizations_with_lagging_steps(databases: Databases, settings: Settings) -> dict[UUID, datetime | None]:
    """Whose steps were read longer than EXECMETRICS_LAG_LIMIT ago, and when; nobody without logs."""
    with connect(databases.analytics_url, settings) as connection:
        return dict(
            connection.execute(statement("checks/lagging_steps"), {"lag": settings.lag_limit}).fetchall()
        )


def buckets_that_do_not_add_up(databases: Databases, settings: Settings) -> int:
    """In how many buckets of the current definition the rows of a dimension do not add up to the total's."""
    periods = [period for period, masks in settings.rollup_plan.items() if Mask.WORKFLOW in masks]
    with connect(databases.analytics_url, settings) as connection:
        current = find_version(connection, definition(settings.rollup_plan))
        found = connection.execute(
            statement("checks/buckets_that_do_not_add_up"),
            ALL_OF_EACH | {"periods": periods, "definition_version": current},
        ).fetchone()
    return int(found[0]) if found else 0


def organizations_that_differ_from_the_facts(databases: Databases, settings: Settings) -> list[UUID]:
    """Whose months count another number of jobs than there are facts."""
    counted, facts = _counted_jobs(databases, settings), open_facts(settings).jobs_by_organization()
    return sorted(key for key in counted.keys() | facts.keys() if counted.get(key) != facts.get(key))


def anomalies(databases: Databases, settings: Settings) -> Anomalies:
    """What is listed, and how it compares with what is counted."""
    with connect(databases.analytics_url, settings) as connection:
        jobs = dict(connection.execute(statement("anomalies/jobs_by_anomaly")).fetchall())
    not_counted = jobs.pop(None, 0)
    finished = not_counted + sum(_counted_jobs(databases, settings).values())
    return Anomalies(jobs, round(100 * not_counted / finished, 3) if finished else 0.0)


def lines_without_a_month(databases: Databases, settings: Settings) -> int:
    """How many lines of execution_logs are in its default partition; none where the logs are not ours."""
    with connect(databases.source_url, settings) as connection:
        return 0 if why_not_ours(connection) else count_lines_without(connection)


def _counted_jobs(databases: Databases, settings: Settings) -> dict[UUID, int]:
    with connect(databases.analytics_url, settings) as connection:
        return count_jobs(connection)

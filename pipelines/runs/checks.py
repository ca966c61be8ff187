"""Questions whose answers say whether the tables can be right, asked of all organizations at once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pipelines.errors import DeletesNotAccepted
from pipelines.executions.log_partitions import find_months_without, why_not_ours
from pipelines.facts.fact_table import open_facts
from pipelines.postgres.connections import Run, connect
from pipelines.postgres.statements import statement
from pipelines.postgres.subject_statements import every_values, subject_statement
from pipelines.state.stored_cells import count_rows, find_version
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Subject


@dataclass(frozen=True)
class Anomalies:
    """Listed jobs by reason, and the percentage of finished jobs that cannot be counted."""

    jobs_by_reason: dict[str, int]
    not_counted_pct: float


@dataclass(frozen=True)
class StandingFailure:
    """An organization whose `subject` failed when last tried, or has guarded deletes, and since when."""

    organization_id: UUID
    subject: str
    error_class: str
    failing_since: datetime


def organizations_left_behind(run: Run, subject: Subject) -> dict[UUID, str]:
    """The organizations of which the subject could not be published when last tried, and the error class."""
    return dict(_rows(run, "checks/organizations_left_behind", subject=subject.name))


def standing_failures(run: Run) -> list[StandingFailure]:
    """What is still broken, whichever run it was that failed."""
    rows = _rows(run, "checks/standing_failures", guarded=DeletesNotAccepted.__name__)
    return [StandingFailure(*row) for row in rows]


def lagging_organizations(run: Run, subject: Subject) -> dict[UUID, datetime | None]:
    """The organizations complete no further than EXECMETRICS_LAG_LIMIT ago, and how far; None for never.

    Of a subject that was never published, none.
    """
    values = {"subject": subject.name, "lag": run.settings.lag_limit}
    return dict(_rows(run, "checks/lagging_organizations", **values))


def buckets_that_do_not_add_up(run: Run) -> int:
    """In how many buckets of the current definition the rows of a dimension do not add up to the total's."""
    plan = run.settings.plan_of(JOBS)
    sets = {frozenset(), *(frozenset({name}) for name in JOBS.dimension_columns)}
    with run.analytics() as connection:
        values = {
            "subject": JOBS.name,
            "periods": [period for period, kept in plan.items() if sets <= set(kept)],
            "definition_version": find_version(connection, JOBS.definition(plan)),
            "dimensions": ["", *JOBS.dimension_columns],
        }
        text = subject_statement("checks/buckets_that_do_not_add_up", JOBS)
        found = connection.execute(text, {**every_values(JOBS), **values}).fetchone()
    return int(found[0]) if found else 0


def organizations_that_differ_from_the_facts(run: Run, subject: Subject) -> list[UUID]:
    """The organizations whose months count another number of rows than there are facts."""
    with run.analytics() as connection:
        counted = count_rows(connection, subject)
    facts = open_facts(run.settings, subject.fact).rows_by_organization()
    return sorted(key for key in counted.keys() | facts.keys() if counted.get(key) != facts.get(key))


def anomalies(run: Run) -> Anomalies:
    """What is listed, and how it compares with what is counted."""
    with run.analytics() as connection:
        jobs: dict[Any, int] = dict(connection.execute(statement("anomalies/jobs_by_anomaly")).fetchall())
        counted = count_rows(connection, JOBS)
    not_counted = jobs.pop(None, 0)
    finished = not_counted + sum(counted.values())
    return Anomalies(jobs, round(100 * not_counted / finished, 3) if finished else 0.0)


def lines_without_a_month(run: Run) -> int:
    """How many lines of execution_logs are in its default partition; none where the logs are not ours."""
    with connect(run.databases.source_url, run.settings) as connection:
        return 0 if why_not_ours(connection) else sum(find_months_without(connection).values())


def _rows(run: Run, name: str, **values: Any) -> list[tuple[Any, ...]]:
    with run.analytics() as connection:
        return connection.execute(statement(name), values).fetchall()

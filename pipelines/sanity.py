"""Questions whose answers say whether the tables can be right, asked of all organizations at once."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pipelines.model.sentinels import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS
from pipelines.settings import Settings
from pipelines.storage.database import Databases, connect
from pipelines.storage.facts import open_facts
from pipelines.storage.statements import statement

_ALL: Final = {
    "all_workflows": ALL_WORKFLOWS,
    "all_clients": ALL_CLIENTS,
    "all_initiators": ALL_INITIATORS,
}


@dataclass(frozen=True)
class Anomalies:
    """Listed jobs by reason, and the percentage of finished jobs that cannot be counted."""

    jobs_by_reason: dict[str, int]
    not_counted_pct: float


def buckets_that_do_not_add_up(databases: Databases, settings: Settings) -> int:
    """In how many buckets the rows of a dimension do not add up to the total's."""
    with connect(databases.analytics_url, settings) as connection:
        found = connection.execute(statement("read/buckets_that_do_not_add_up.sql"), _ALL).fetchone()
    return int(found[0]) if found else 0


def organizations_that_differ_from_the_facts(databases: Databases, settings: Settings) -> list[UUID]:
    """Whose months count another number of jobs than there are facts."""
    counted, facts = _counted_jobs(databases, settings), open_facts(settings).jobs_by_organization()
    return sorted(key for key in counted.keys() | facts.keys() if counted.get(key) != facts.get(key))


def anomalies(databases: Databases, settings: Settings) -> Anomalies:
    """What is listed, and how it compares with what is counted."""
    with connect(databases.analytics_url, settings) as connection:
        jobs = dict(connection.execute(statement("read/jobs_by_anomaly.sql")).fetchall())
    not_counted = jobs.pop(None, 0)
    finished = not_counted + sum(_counted_jobs(databases, settings).values())
    return Anomalies(jobs, round(100 * not_counted / finished, 3) if finished else 0.0)


def _counted_jobs(databases: Databases, settings: Settings) -> dict[UUID, int]:
    with connect(databases.analytics_url, settings) as connection:
        return dict(connection.execute(statement("read/counted_jobs.sql"), _ALL).fetchall())

"""How far the aggregates are, organization by organization."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipelines.errors import DeletesNotAccepted, ExecutionMetricsError
from pipelines.facts.folder import find_set_aside, newest_version
from pipelines.postgres.connections import Run, connect
from pipelines.postgres.schema_checks import require_analytics
from pipelines.postgres.statements import statement
from pipelines.source.contract import open_catalog, read_whole
from pipelines.subjects.dimensions import ALL_OF_EACH


@dataclass(frozen=True)
class OrganizationStatus:
    """One organization: all that had completed by `complete_through` is in its `cells`.

    `failing` and `steps_failing` are the classes of what went wrong when its jobs and its steps were last
    tried, None when nothing did; of one that was never published nothing else is known.
    """

    organization_id: UUID
    name: str
    time_zone: str | None
    complete_through: datetime | None
    verified_at: datetime | None
    cursor: int | None
    jobs: int
    cells: int
    anomalies: int
    failing: str | None
    steps_failing: str | None


@dataclass(frozen=True)
class Status:
    """All organizations, and what the rollup plan costs: cells per counted job.

    `read_whole` says why every refresh reads all of some relations; None where the source is not reached.
    `set_aside` are the folders of facts that could not be used.
    """

    organizations: tuple[OrganizationStatus, ...]
    facts_version: int
    read_whole: Mapping[str, str] | None
    set_aside: tuple[str, ...]

    @property
    def cells(self) -> int:
        """Stored cells."""
        return sum(organization.cells for organization in self.organizations)

    @property
    def jobs(self) -> int:
        """Counted jobs."""
        return sum(organization.jobs for organization in self.organizations)

    @property
    def cells_per_job(self) -> float | None:
        """Stored cells per counted job; None without jobs."""
        return self.cells / self.jobs if self.jobs else None


def status(run: Run) -> Status:
    """Read where every organization stands; raises `SchemaMissing`."""
    require_analytics(run)
    with connect(run.databases.analytics_url, run.settings) as connection:
        values = ALL_OF_EACH | {"guarded": DeletesNotAccepted.__name__}
        rows = connection.execute(statement("checks/organization_status"), values).fetchall()
    whole = None
    with suppress(ExecutionMetricsError), open_catalog(run.databases.source_url, run.settings) as connection:
        whole = read_whole(connection)
    locations = (run.settings.facts_location, run.settings.step_facts_location)
    return Status(
        organizations=tuple(OrganizationStatus(*row) for row in rows),
        facts_version=newest_version(run.settings.facts_location),
        read_whole=whole,
        set_aside=tuple(str(folder) for location in locations for folder in find_set_aside(location)),
    )

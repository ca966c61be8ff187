"""Letting go of what is older than the retention settings."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Databases, connect, connections_reused
from pipelines.postgres.schema_checks import require_analytics
from pipelines.settings import Settings
from pipelines.state.lock import refresh_lock
from pipelines.state.retention import remove_cells, remove_outcomes, remove_restatements
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period


@dataclass(frozen=True)
class RetentionReport:
    """How many rows were removed, of jobs; a setting that is off removes none."""

    hourly_cells: int
    restatements: int
    outcomes: int


@connections_reused()
def retain(databases: Databases, settings: Settings, *, now: datetime | None = None) -> RetentionReport:
    """Remove hourly cells, restatements and outcomes that are older than EXECMETRICS_KEEP_... say.

    Hourly cells go a whole UTC day at a time, and do not come back when the setting is raised. Raises
    `SchemaMissing`, `AnotherRunHoldsTheLock`.
    """
    require_analytics(databases, settings)
    moment = now or datetime.now(UTC)

    def before(kept: timedelta) -> datetime:
        return moment - kept

    with refresh_lock(databases, settings), connect(databases.analytics_url, settings) as analytics:
        hours = restatements = outcomes = 0
        if settings.keep_hours is not None:
            midnight = before(settings.keep_hours).replace(hour=0, minute=0, second=0, microsecond=0)
            hours = remove_cells(analytics, SUBJECTS, Period.HOUR, midnight)[JOBS.name]
        if settings.keep_restatements is not None:
            restatements = remove_restatements(analytics, before(settings.keep_restatements))
        if settings.keep_outcomes is not None:
            outcomes = remove_outcomes(analytics, before(settings.keep_outcomes))
        passing(FaultPoint.BEFORE_COMMIT)
    passing(FaultPoint.AFTER_COMMIT)
    return RetentionReport(hours, restatements, outcomes)

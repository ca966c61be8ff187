"""Whatever happens to the source, and whenever it is read: in the end every cell is right."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipelines.refresh import RefreshReport, reconcile, refresh
from pipelines.settings import Settings, load_settings
from pipelines.storage.database import Databases
from pipelines.verify import verify
from tests.laws.generated import durations, moments
from tests.oracle import ALL, cells_by_sql, differences
from tests.planting import DAY, NOON, Tenant, cells, change_job, plant_job, plant_tenant

# Few moments, so that jobs meet in their cells; they touch hours, days, weeks and months.
MOMENTS = [
    NOON,
    NOON + timedelta(minutes=30),
    NOON + timedelta(hours=12),
    NOON + DAY,
    NOON + 5 * DAY,
]
BEGINNING, END = datetime.fromisoformat("2000-01-01T00:00Z"), datetime.fromisoformat("2100-01-01T00:00Z")

numbers = st.integers(min_value=0, max_value=1_000)


class Killed(BaseException):
    """A run that was stopped from outside."""


class SourceHistory(RuleBasedStateMachine):
    """Jobs come, change and go in two organizations, between and during runs that may be killed."""

    databases: ClassVar[Databases]
    settings: ClassVar[Settings]
    folders: ClassVar[list[Path]]

    def __init__(self) -> None:
        super().__init__()
        self.source = psycopg.connect(self.databases.source_url, autocommit=True)
        self.slow: psycopg.Connection | None = None
        self.jobs: list[UUID] = []
        self.hard_deleted = False

    @initialize()
    def two_organizations(self) -> None:
        self.source.execute("TRUNCATE orchestration.organizations CASCADE")
        self.source.execute(
            "TRUNCATE analytics.aggregate_metrics, analytics.extraction_cursors, analytics.published_facts,"
            " analytics.job_anomalies"
        )
        self.tenants = [plant_tenant(self.source), plant_tenant(self.source, "Neighbour")]
        self.folder = self.folders[0] / str(self.tenants[0].organization)

    @rule(number=numbers, completed_at=st.sampled_from(MOMENTS) | moments, duration=durations)
    def a_job_finishes(self, number: int, completed_at: datetime, duration: timedelta) -> None:
        self.jobs.append(plant_job(self.source, **self._new(number, completed_at, duration)))

    @precondition(lambda self: self.slow is None)
    @rule(number=numbers, completed_at=st.sampled_from(MOMENTS))
    def a_slow_writer_inserts_and_does_not_commit(self, number: int, completed_at: datetime) -> None:
        self.slow = psycopg.connect(self.databases.source_url)
        self.slow.execute("SELECT 1")
        self.waiting = plant_job(self.slow, **self._new(number, completed_at, timedelta(minutes=1)))

    @precondition(lambda self: self.slow is not None)
    @rule()
    def the_slow_writer_commits(self) -> None:
        self.slow.commit()
        self.slow.close()
        self.slow = None
        self.jobs.append(self.waiting)

    @precondition(lambda self: self.jobs)
    @rule(number=numbers)
    def a_job_is_retried_in_place(self, number: int) -> None:
        change_job(self.source, self._job(number), status="RUNNING", completed_at=None)

    @precondition(lambda self: self.jobs)
    @rule(number=numbers, completed_at=st.sampled_from(MOMENTS), duration=durations)
    def a_job_finishes_again(self, number: int, completed_at: datetime, duration: timedelta) -> None:
        change_job(
            self.source,
            self._job(number),
            status=("COMPLETED", "FAILED")[number % 2],
            started_at=completed_at - duration,
            completed_at=completed_at,
        )

    @precondition(lambda self: self.jobs)
    @rule(number=numbers, column=st.sampled_from(["workflow_id", "client_id", "initiator_type"]))
    def a_job_is_reassigned(self, number: int, column: str) -> None:
        job = self._job(number)
        owner = self.source.execute(
            "SELECT organization_id FROM orchestration.jobs WHERE id = %s", [job]
        ).fetchone()[0]
        tenant = next(tenant for tenant in self.tenants if tenant.organization == owner)
        change_job(self.source, job, **{column: self._columns(tenant, number // 7)[column]})

    @precondition(lambda self: self.jobs)
    @rule(number=numbers)
    def a_job_moves_to_the_other_organization(self, number: int) -> None:
        tenant = self.tenants[number % 2]
        change_job(
            self.source,
            self._job(number // 2),
            organization_id=tenant.organization,
            workflow_id=tenant.workflows[0],
            client_id=tenant.clients[0],
        )

    @precondition(lambda self: self.jobs)
    @rule(number=numbers, deleted_at=st.sampled_from([NOON, NOON, None]))
    def a_job_is_soft_deleted_or_undeleted(self, number: int, deleted_at: datetime | None) -> None:
        change_job(self.source, self._job(number), deleted_at=deleted_at)

    @precondition(lambda self: self.jobs)
    @rule(number=numbers)
    def a_job_is_changed_behind_the_applications_back(self, number: int) -> None:
        """Raw SQL does not touch `updated_at`."""
        self.source.execute(
            "UPDATE orchestration.jobs SET client_id = NULL WHERE id = %s", [self._job(number)]
        )

    @precondition(lambda self: self.jobs)
    @rule(number=numbers)
    def a_job_is_deleted_for_good(self, number: int) -> None:
        job = self.jobs.pop(number % len(self.jobs))
        self.source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [job])
        self.hard_deleted = True

    @rule()
    def a_refresh(self) -> None:
        self._refresh()

    @rule(number=numbers)
    def a_refresh_of_one_organization(self, number: int) -> None:
        self._refresh(organization_ids=[self.tenants[number % 2].organization])

    @rule(stage=st.sampled_from(["extract", "facts", "publish"]))
    def a_refresh_is_killed(self, stage: str) -> None:
        def kill(reached: str, _rows: int) -> None:
            if reached == stage:
                raise Killed

        with suppress(Killed):
            self._refresh(on_progress=kill)

    @rule(number=numbers, days=st.integers(min_value=1, max_value=40))
    def a_reconcile(self, number: int, days: int) -> None:
        reconcile(
            self.databases,
            self._settings(),
            since=NOON,
            until=NOON + days * DAY,
            organization_ids=[self.tenants[number % 2].organization] if number % 3 else [],
        )

    @rule()
    def the_facts_are_lost(self) -> None:
        self.folder = self.folder.with_name(self.folder.name + "+")

    @invariant()
    def no_cell_is_impossible(self) -> None:
        """Readers never see a total that its hours do not add up to, not even after a kill."""
        torn = self.source.execute(
            "SELECT organization_id FROM analytics.aggregate_metrics"
            " WHERE workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all'"
            " GROUP BY 1 HAVING count(DISTINCT period) <> 4"
            " OR sum(total_executions) FILTER (WHERE period = 'hour')"
            " <> ALL (ARRAY[sum(total_executions) FILTER (WHERE period = 'day'),"
            " sum(total_executions) FILTER (WHERE period = 'week'),"
            " sum(total_executions) FILTER (WHERE period = 'month')])",
            {"all": ALL},
        ).fetchall()
        assert torn == []

    def teardown(self) -> None:
        """When all is written and read once more, the table is what plain SQL says, and stays so."""
        try:
            if hasattr(self, "tenants"):
                self._end()
        finally:
            if self.slow is not None:
                self.slow.close()
            self.source.close()

    def _end(self) -> None:
        if self.slow is not None:
            self.the_slow_writer_commits()
        if self.hard_deleted:
            reconcile(self.databases, self._settings(), since=BEGINNING, until=END)
        else:
            self._refresh()
        assert differences(cells(self.source), cells_by_sql(self.source)) == []
        again = self._refresh()
        assert (again.cells_written, again.cells_deleted, again.facts_updated) == (0, 0, 0)
        report = verify(self.databases, self._settings())
        assert (report.differences, report.cells_pending) == ((), 0)

    def _refresh(self, **options: Any) -> RefreshReport:
        return refresh(self.databases, self._settings(), **options)

    def _settings(self) -> Settings:
        return self.settings.model_copy(update={"facts_url": str(self.folder)})

    def _job(self, number: int) -> UUID:
        return self.jobs[number % len(self.jobs)]

    def _new(self, number: int, completed_at: datetime, duration: timedelta) -> dict[str, Any]:
        tenant = self.tenants[number % 2]
        return {
            "tenant": tenant,
            "completed_at": completed_at,
            "started_at": completed_at - duration,
            "status": "FAILED" if number % 5 == 0 else "COMPLETED",
            **self._columns(tenant, number // 2),
        }

    def _columns(self, tenant: Tenant, number: int) -> dict[str, Any]:
        return {
            "workflow_id": tenant.workflows[number % 2],
            "client_id": (*tenant.clients, None)[number % 3],
            "initiator_type": ("USER", "unknown", None)[number % 3],
        }


@pytest.fixture
def histories(databases: Databases, tmp_path: Path) -> type[SourceHistory]:
    """The machine, on a database and with facts of its own."""
    SourceHistory.databases = databases
    SourceHistory.settings = load_settings(home=tmp_path / "home")
    SourceHistory.folders = [tmp_path / "facts"]
    return SourceHistory


def test_every_history_ends_in_the_right_table(histories: Callable[[], SourceHistory]) -> None:
    """Inserts, retries, moves, deletes and slow writers, interleaved with runs, kills and lost facts."""
    run_state_machine_as_test(
        histories,
        settings=settings(
            deadline=None,
            max_examples=10,
            stateful_step_count=20,
            # Shrinking would run databases for minutes; the steps that failed are printed as they are.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )

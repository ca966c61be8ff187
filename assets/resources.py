"""The pipeline as the assets of one run share it."""

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import dagster as dg
from pydantic import PrivateAttr

from assets.failures import ERROR
from assets.scope import Mode, Organizations, Scope
from pipelines.errors import (
    AnotherRunHoldsTheLock,
    DatabaseUnreachable,
    ExecutionMetricsError,
    PublishConflict,
    StoreUnreachable,
    UsageError,
    is_failure,
)
from pipelines.executions.metadata import SyncReport
from pipelines.extract.request import Extraction, Request
from pipelines.postgres.connections import Databases, OnProgress, Run, open_databases
from pipelines.postgres.failures import meaning_of
from pipelines.runs.audit import AuditReport, audit
from pipelines.runs.execution_metadata import (
    DriftReport,
    ReconcileReport,
    find_drift,
    reconcile_metadata,
    sync_metadata,
)
from pipelines.runs.log_retention import LogsReport, keep_logs
from pipelines.runs.maintenance import (
    RetentionReport,
    SweepReport,
    TidyReport,
    retain,
    sweep_blobs,
    tidy_facts,
)
from pipelines.runs.refresh import (
    FailedOrganization,
    RefreshReport,
    SubjectReport,
    completed_in,
    extract_changes,
    measure_steps,
    publish_changes,
    reconcile,
    reconcile_created,
    refresh,
)
from pipelines.settings import Settings, load_settings

# Each message is a row in Dagster's database.
_SECONDS_BETWEEN_MESSAGES: Final = 30.0

# These end by themselves, so another try may succeed.
_PASSING = (DatabaseUnreachable, StoreUnreachable, AnotherRunHoldsTheLock)


class _Extracted(NamedTuple):
    mode: Mode
    organization_ids: list[UUID]
    extraction: Extraction


class Pipeline(dg.ConfigurableResource[None]):
    """Where the jobs come from and the aggregates go to, by the settings of the environment."""

    _settings: Settings = PrivateAttr()
    _databases: Databases = PrivateAttr()
    _extracted: _Extracted | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Any]:  # noqa: ARG002
        """Hold the databases for a run; without a configured one, an embedded server runs meanwhile."""
        with _named_failures():
            self._settings = load_settings()
            with open_databases(self._settings) as self._databases:
                yield self

    @property
    def settings(self) -> Settings:
        """The settings of this run."""
        return self._settings

    @property
    def run(self) -> Run:
        """What the parts of a run need."""
        return Run(self._databases, self._settings)

    def extract(self, scope: Scope, days: dg.TimeWindow | None, log: dg.DagsterLogManager) -> Extraction:
        """Bring the facts up to date, and remember for `publish` what was read."""
        with _named_failures():
            organization_ids = scope.organizations()
            extraction = extract_changes(
                self._databases, self._settings, _request(scope, days), on_progress=_logged(log)
            )
        self._extracted = _Extracted(scope.mode, organization_ids, extraction)
        return extraction

    def publish(self, scope: Scope, days: dg.TimeWindow | None, log: dg.DagsterLogManager) -> RefreshReport:
        """Publish what this run has extracted; where it has nothing, or is late, do the whole pass."""
        extracted, self._extracted = self._extracted, None
        on_progress = _logged(log)
        with _named_failures():
            organization_ids = scope.organizations()
            if extracted and (extracted.mode, extracted.organization_ids) != (scope.mode, organization_ids):
                raise dg.Failure(
                    "job_facts and aggregate_metrics were configured differently; give both the same.",
                    allow_retries=False,
                )
            if extracted:
                with suppress(PublishConflict):
                    return publish_changes(
                        self._databases, self._settings, extracted.extraction, on_progress=on_progress
                    )
            if extracted:
                log.info("Another run published meanwhile, so the source is read again.")
            if days is None:
                return refresh(
                    self._databases,
                    self._settings,
                    organization_ids=organization_ids,
                    on_progress=on_progress,
                )
            return reconcile(
                self._databases,
                self._settings,
                since=days.start,
                until=days.end,
                organization_ids=organization_ids,
                accept_deletes=scope.accept_deletes,
                on_progress=on_progress,
            )

    def measure_steps(
        self, scope: Scope, days: dg.TimeWindow | None, log: dg.DagsterLogManager
    ) -> SubjectReport | None:
        """Bring the steps up to date with their logs; None where the source has none."""
        with _named_failures():
            return measure_steps(
                self._databases, self._settings, _request(scope, days), on_progress=_logged(log)
            )

    def compare_checksums(self, log: dg.DagsterLogManager, *, recent: bool) -> dict[str, Any]:
        """Compare the source with the facts, trailing days or everything; return what was found."""
        since = datetime.now(UTC).date() - timedelta(days=self._settings.digest_days) if recent else None
        log.info(f"Compare jobs created {f'since {since}' if since else 'at any time'} with the facts.")
        with _named_failures():
            report = reconcile_created(self._databases, self._settings, since=since, on_progress=_logged(log))
        steps_failed = report.steps.failed if report.steps else ()
        return {
            "rows_read": report.rows_read,
            "facts_inserted": report.facts_inserted,
            "facts_updated": report.facts_updated,
            "facts_deleted": report.facts_deleted,
            "cells_written": report.cells_written,
            "cells_deleted": report.cells_deleted,
            "failed": _named(report.failed),
            "steps_failed": _named(steps_failed),
        }

    def audit(self) -> AuditReport:
        """Compare the organizations that were verified longest ago with the source, and repair them."""
        with _named_failures():
            return audit(self._databases, self._settings)

    def sync_metadata(self, scope: Organizations) -> SyncReport:
        """Copy to execution_metadata what was written in the source since the last sync."""
        with _named_failures():
            return sync_metadata(self._databases, self._settings, organization_ids=scope.organizations())

    def find_drift(self) -> DriftReport:
        """Compare every row of execution_metadata with its sources."""
        with _named_failures():
            return find_drift(self._databases, self._settings)

    def reconcile_metadata(self, scope: Organizations) -> ReconcileReport:
        """Make every row of execution_metadata equal to its sources again."""
        with _named_failures():
            return reconcile_metadata(self._databases, self._settings, organization_ids=scope.organizations())

    def tidy(self) -> TidyReport:
        """Merge small files of the facts, and drop those that no published version needs."""
        with _named_failures():
            return tidy_facts(self._databases, self._settings)

    def retain(self) -> RetentionReport:
        """Let go of what is older than the retention settings."""
        with _named_failures():
            return retain(self._databases, self._settings)

    def keep_logs(self) -> LogsReport:
        """Keep the partitions of the logs, as the settings say."""
        with _named_failures():
            return keep_logs(self._databases, self._settings)

    def sweep(self) -> SweepReport:
        """Remove definitions from blob storage that no workflow names."""
        with _named_failures():
            return sweep_blobs(self._databases, self._settings)


def report_outcome(context: dg.OpExecutionContext, outcome: Mapping[str, Any]) -> None:
    """Say in the run's log and in the step's metadata what an op has done."""
    context.log.info(", ".join(f"{name} {value}" for name, value in outcome.items() if value != ""))
    context.add_output_metadata(outcome)


def _logged(log: dg.DagsterLogManager) -> OnProgress:
    """Say in the run's log when a stage has begun, and from time to time how far it is."""
    said: dict[str, float] = {}

    def report(stage: str, rows: int) -> None:
        now = time.monotonic()
        if stage not in said or now - said[stage] >= _SECONDS_BETWEEN_MESSAGES:
            said[stage] = now
            log.info(f"{stage}: {rows:,} rows so far.")

    return report


def _request(scope: Scope, days: dg.TimeWindow | None) -> Request:
    return Request(
        tuple(scope.organizations()),
        completed=completed_in(days.start, days.end) if days else None,
        accept_deletes=scope.accept_deletes,
    )


@contextmanager
def _named_failures() -> Iterator[None]:
    """Show our sentence and never a driver's words, and do not try again what only a person can put right."""
    try:
        yield
    except dg.Failure:
        raise
    except ExecutionMetricsError as failure:
        raise _failed(failure) from None
    except BaseException as unexpected:
        if not is_failure(unexpected):
            raise
        if meant := meaning_of(unexpected):
            raise _failed(meant) from None
        kind = {ERROR: type(unexpected).__name__}
        where = "".join(traceback.format_tb(unexpected.__traceback__)[-3:])
        raise dg.Failure(
            f"An unexpected {type(unexpected).__name__}.", metadata=kind | {"where": where}
        ) from None


def _failed(failure: ExecutionMetricsError) -> dg.Failure:
    hopeless = isinstance(failure, UsageError) and not isinstance(failure, _PASSING)
    return dg.Failure(str(failure), metadata={ERROR: type(failure).__name__}, allow_retries=not hopeless)


def _named(organizations: Sequence[FailedOrganization]) -> str:
    return ", ".join(f"{each.organization_id} {each.error_class}" for each in organizations[:20])

"""The pipeline as the assets of one run share it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import dagster as dg
from pydantic import PrivateAttr

from assets.failures import named_failures
from assets.partitions import Scope
from pipelines.errors import PublishConflict
from pipelines.extract.request import CompletedIn, Extraction, Request
from pipelines.postgres.connections import Databases, OnProgress, Run, Stages, open_databases
from pipelines.runs.refresh import (
    RefreshReport,
    SubjectReport,
    extract_changes,
    measure_steps,
    publish_changes,
    reconcile,
    refresh,
)
from pipelines.settings import Settings, load_settings

# Each message is a row in Dagster's database.
_SECONDS_BETWEEN_MESSAGES: Final = 30.0

Options = ParamSpec("Options")
Found = TypeVar("Found")


class Pipeline(dg.ConfigurableResource[None]):
    """Where the jobs come from and the aggregates go to, by the settings of the environment."""

    _settings: Settings = PrivateAttr()
    _databases: Databases = PrivateAttr()
    _extracted: tuple[Scope, Extraction] | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Any]:  # noqa: ARG002
        """Hold the databases for a run; without a configured one, an embedded server runs meanwhile."""
        with named_failures():
            self._settings = load_settings()
            with open_databases(self._settings) as self._databases:
                yield self

    @property
    def settings(self) -> Settings:
        """The settings of this run."""
        return self._settings

    def run(
        self,
        use_case: Callable[Concatenate[Run, Options], Found],
        *values: Options.args,
        **options: Options.kwargs,
    ) -> Found:
        """What a use case gives, or a question to the tables finds, by the settings of this run."""
        return self.follow(None, use_case, *values, **options)

    def follow(
        self,
        log: dg.DagsterLogManager | None,
        use_case: Callable[Concatenate[Run, Options], Found],
        *values: Options.args,
        **options: Options.kwargs,
    ) -> Found:
        """The same, and the run's log says how far it is."""
        with named_failures():
            return use_case(self._made(log), *values, **options)

    def _made(self, log: dg.DagsterLogManager | None) -> Run:
        return Run(self._databases, self._settings, Stages(_logged(log) if log else None))

    def extract(self, scope: Scope, days: dg.TimeWindow | None, log: dg.DagsterLogManager) -> Extraction:
        """Bring the facts up to date, and remember for `publish` what was read."""
        extraction = self.follow(log, extract_changes, _request(scope, days))
        self._extracted = scope, extraction
        return extraction

    def publish(self, scope: Scope, days: dg.TimeWindow | None, log: dg.DagsterLogManager) -> RefreshReport:
        """Publish what this run has extracted; where it has nothing, or is late, do the whole pass."""
        extracted, self._extracted = self._extracted, None
        organization_ids = scope.organizations()
        if extracted:
            first, extraction = extracted
            if (first.mode, first.organizations()) != (scope.mode, organization_ids):
                raise dg.Failure(
                    "job_facts and aggregate_metrics were configured differently; give both the same.",
                    allow_retries=False,
                )
            with named_failures(), suppress(PublishConflict):
                return publish_changes(self._made(log), extraction)
            log.info("Another run published meanwhile, so the source is read again.")
        if days is None:
            return self.follow(log, refresh, organization_ids=organization_ids)
        return self.follow(
            log,
            reconcile,
            since=days.start,
            until=days.end,
            organization_ids=organization_ids,
            accept_deletes=scope.accept_deletes,
        )

    def measure_steps(
        self, scope: Scope, days: dg.TimeWindow | None, log: dg.DagsterLogManager
    ) -> SubjectReport | None:
        """Bring the steps up to date with their logs; None where the source has none."""
        return self.follow(log, measure_steps, _request(scope, days))


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
    completed = CompletedIn(days.start, days.end) if days else None
    return Request(tuple(scope.organizations()), completed=completed, accept_deletes=scope.accept_deletes)

"""The pipeline as the assets of one run share it."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from uuid import UUID

import dagster as dg
from pydantic import PrivateAttr

from assets.failures import ERROR
from assets.scope import Mode, Scope
from pipelines.errors import (
    AnotherRunHoldsTheLock,
    DatabaseUnreachable,
    ExecutionMetricsError,
    PublishConflict,
    UsageError,
)
from pipelines.extract import Extraction
from pipelines.maintenance import TidyReport, tidy_facts
from pipelines.refresh import RefreshReport, extract_changes, publish_changes, reconcile, refresh
from pipelines.settings import Settings, load_settings
from pipelines.storage.database import Databases, open_databases

# These end by themselves, so another try may succeed.
_PASSING = (DatabaseUnreachable, AnotherRunHoldsTheLock)


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
    def databases(self) -> Databases:
        """The databases of this run."""
        return self._databases

    def extract(self, scope: Scope, days: dg.TimeWindow | None) -> Extraction:
        """Bring the facts up to date, and remember for `publish` what was read."""
        since, until = days or (None, None)
        with _named_failures():
            organization_ids = scope.organizations()
            extraction = extract_changes(
                self._databases,
                self._settings,
                since=since,
                until=until,
                organization_ids=organization_ids,
            )
        self._extracted = _Extracted(scope.mode, organization_ids, extraction)
        return extraction

    def publish(self, scope: Scope, days: dg.TimeWindow | None) -> RefreshReport:
        """Publish what this run has extracted; where it has nothing, or is late, do the whole pass."""
        extracted, self._extracted = self._extracted, None
        with _named_failures():
            organization_ids = scope.organizations()
            if extracted and (extracted.mode, extracted.organization_ids) != (scope.mode, organization_ids):
                raise dg.Failure(
                    "job_facts and aggregate_metrics were configured differently; give both the same.",
                    allow_retries=False,
                )
            if extracted:
                with suppress(PublishConflict):
                    return publish_changes(self._databases, self._settings, extracted.extraction)
            if days is None:
                return refresh(self._databases, self._settings, organization_ids=organization_ids)
            return reconcile(
                self._databases,
                self._settings,
                since=days.start,
                until=days.end,
                organization_ids=organization_ids,
            )

    def tidy(self) -> TidyReport:
        """Merge small files of the facts, and drop those that no published version needs."""
        with _named_failures():
            return tidy_facts(self._databases, self._settings)


@contextmanager
def _named_failures() -> Iterator[None]:
    """Show our sentence and never a driver's words, and do not try again what only a person can put right."""
    try:
        yield
    except dg.Failure:
        raise
    except ExecutionMetricsError as failure:
        hopeless = isinstance(failure, UsageError) and not isinstance(failure, _PASSING)
        kind = {ERROR: type(failure).__name__}
        raise dg.Failure(str(failure), metadata=kind, allow_retries=not hopeless) from None
    except Exception as unexpected:
        kind = {ERROR: type(unexpected).__name__}
        where = "".join(traceback.format_tb(unexpected.__traceback__)[-3:])
        raise dg.Failure(
            f"An unexpected {type(unexpected).__name__}.", metadata=kind | {"where": where}
        ) from None

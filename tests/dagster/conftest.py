"""The assets as Dagster runs them, by the settings of an environment of the test's own."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import dagster as dg
import pytest

from pipelines.settings import Settings

DAY_S = 86_400


@pytest.fixture(scope="session", autouse=True)
def _days_are_listed_once() -> Iterator[None]:
    """Dagster lists each day since 2010 for every check of a run, in a tenth of a second: once will do."""
    kind = dg.TimeWindowPartitionsDefinition
    listed = kind.get_partition_keys

    @cache
    def listed_on(days: dg.TimeWindowPartitionsDefinition, _today: int) -> Sequence[str]:
        return listed(days)

    def keys(days: Any, *given: Any, **named: Any) -> Sequence[str]:
        if given or any(named.values()):
            return listed(days, *given, **named)
        return listed_on(days, int(days._get_current_timestamp() // DAY_S))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "get_partition_keys", keys)
        yield


@pytest.fixture
def configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment says what `settings` say; a test may change it further."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("EXECMETRICS_SOURCE_URL", settings.source_url.get_secret_value())
    monkeypatch.setenv("EXECMETRICS_HOME", str(settings.home))
    return monkeypatch


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster that forgets everything when the test ends."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed step is tried again at once, where production waits."""
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: 0)  # noqa: ARG005

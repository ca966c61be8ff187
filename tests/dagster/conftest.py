"""The assets as Dagster runs them, by the settings of an environment of the test's own."""

import importlib
from collections.abc import Iterator

import dagster as dg
import pytest

from pipelines.settings import Settings

# Of a few years each day is listed for every check of a run: planted jobs are no older than this.
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("EXECMETRICS_PARTITIONS_SINCE", "2022-12-01")
    importlib.import_module("assets.partitions")


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

"""A real trace in a database of its own, imported and refreshed once for all tests of a module."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest

from pipelines.devtools.trace_import import ImportReport, import_trace
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import RefreshReport, refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings, load_settings
from tests.conftest import Cluster, with_database
from tests.support.places import TRACES
from tests.support.sampling import EVERYTHING
from tests.support.trace_answers import Answers, leaves


@dataclass(frozen=True)
class Loaded:
    """A trace, where it was loaded to, what was reported, and the figures that others computed from it."""

    folder: Path
    databases: Databases
    settings: Settings
    imported: ImportReport
    refreshed: RefreshReport
    oracle: dict[str, Any]


@pytest.fixture(scope="class")
def loaded(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    """The trace that the class names, after one import and one refresh."""
    name: str = request.cls.name
    folder = TRACES / name
    if not folder.is_dir():
        pytest.skip(f"the trace {name} is not beside this repository")
    server = cluster("embedded")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests STRATEGY file_copy")
    try:
        url = with_database(server, name)
        databases = Databases(url, url)
        settings = load_settings(
            database_url=url, source_url=url, home=tmp_path_factory.mktemp(name) / "home"
        )
        yield Loaded(
            folder=folder,
            databases=databases,
            settings=settings,
            imported=import_trace(folder, databases, settings),
            refreshed=refresh(databases, settings),
            oracle=json.loads((folder / "oracle.json").read_text("utf-8")),
        )
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def stored(loaded: Loaded) -> Iterator[psycopg.Connection]:
    """A connection to the aggregates of the trace."""
    with psycopg.connect(loaded.databases.analytics_url, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


class TraceTests:
    """What holds for every trace; each module names its own and how many figures of the oracle agree."""

    name: ClassVar[str]
    agreed: ClassVar[int]
    unanswered: ClassVar[Mapping[str, int]]

    def test_the_whole_trace_arrives(self, loaded: Loaded, stored: psycopg.Connection) -> None:
        """Every row of the trace's files is written, and no file is ignored."""
        oracle = dict(loaded.oracle)
        written = {table.name: table.rows_written for table in loaded.imported.tables}

        if "steps" in oracle:
            oracle["execution_logs"] = oracle["steps"]["rows"]
            levels = stored.execute(
                "SELECT level::text, count(*) FROM orchestration.execution_logs GROUP BY 1"
            )
            assert dict(levels.fetchall()) == oracle["steps"]["levels"]
        files = {file.name.removesuffix(".csv.gz") for file in loaded.folder.glob("*.csv.gz")}
        assert written == {name: oracle[name] for name in files}
        assert loaded.imported.ignored == ()

    def test_every_cell_is_what_the_source_says(self, loaded: Loaded, stored: psycopg.Connection) -> None:
        """Plain SQL on the source gives the same cells; in a sample, those of every eighth organization."""
        steps = loaded.refreshed.steps
        assert steps is not None
        keys = [row[0] for row in stored.execute("SELECT id FROM orchestration.organizations ORDER BY id")]
        mine = keys if EVERYTHING else keys[::8]

        report = verify(loaded.databases, loaded.settings, organization_ids=mine)

        for compared, written, table in (
            (report, loaded.refreshed.cells_written, "aggregate_metrics"),
            (report.steps, steps.cells_written, "aggregate_step_metrics"),
        ):
            counted = stored.execute(f"SELECT organization_id, count(*) FROM analytics.{table} GROUP BY 1")
            there = dict(counted.fetchall())
            to_compare = sum(there.get(key, 0) for key in mine)
            assert sum(there.values()) == written
            assert (compared.cells_compared, compared.cells_pending, compared.differences) == (
                to_compare,
                0,
                (),
            )

    def test_every_figure_that_can_be_answered_agrees(
        self, loaded: Loaded, stored: psycopg.Connection
    ) -> None:
        """Each figure of the oracle agrees with the stored cells, or a reason says why they do not tell."""
        # Hundreds of figures are asked for one by one, of everybody: no index of ours is for that.
        stored.execute("CREATE INDEX ON analytics.aggregate_metrics (period, workflow_id, client_id)")

        answers = Answers(stored, loaded.oracle)

        assert answers.disagreed == []
        assert answers.agreed | answers.unanswered.keys() == {path for path, _ in leaves(loaded.oracle)}
        assert len(answers.agreed) == self.agreed
        assert answers.reasons == self.unanswered

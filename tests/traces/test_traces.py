"""Real traces, each imported and refreshed once: the cells say what others computed from its rows."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines.devtools.trace_import import ImportReport, import_trace
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import RefreshReport, refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings, load_settings
from tests.conftest import Cluster, creating_databases
from tests.support import trace_answers as why
from tests.support.oracle import ALL
from tests.support.places import TRACES
from tests.support.sampling import EVERYTHING
from tests.support.trace_answers import Answers, leaves

# Three supercomputers with waits of months; loan applications of a bank, declined in seconds or approved in
# weeks; medication orders, of which thousands end before they start; billing packages of a hospital.
NAMES = ("alcf_hpc", "bpic2012_loans", "eicu_medication", "hospital_billing")

# How many figures of the oracle agree in each of them, and how many are not answered for which reason.
AGREED = (797, 788, 638, 757)
UNANSWERED = {
    why.OTHER_STATUSES: (7, 8, 2, 8),
    why.A_NAME: (3, 3, 3, 3),
    why.NOT_STORED: (61, 82, 92, 93),
    why.BY_START: (430, 362, 430, 379),
    why.OF_OTHER_COLUMNS: (146, 91, 15, 5),
    why.IN_MANY_CELLS: (236, 216, 88, 228),
    why.WITH_NEGATIVES: (0, 0, 216, 11),
    why.SAME_OUTCOME: (0, 2, 0, 0),
    why.BY_STATUS: (24, 24, 54, 24),
}


@dataclass(frozen=True)
class Loaded:
    """A trace, where it was loaded to, what was reported, and the figures that others computed from it."""

    folder: Path
    databases: Databases
    settings: Settings
    imported: ImportReport
    refreshed: RefreshReport
    oracle: dict[str, Any]

    @property
    def run(self) -> Run:
        """A new run on them."""
        return Run(self.databases, self.settings)


@pytest.fixture(scope="module", params=NAMES)
def loaded(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    """A trace after one import and one refresh."""
    folder = TRACES / request.param
    if not folder.is_dir():
        pytest.skip(f"the trace {request.param} is not beside this repository")
    oracle = json.loads((folder / "oracle.json").read_text("utf-8"))
    with creating_databases(cluster("embedded")) as create:
        url = create()
        databases, home = Databases(url, url), tmp_path_factory.mktemp(request.param) / "home"
        settings = load_settings(database_url=url, source_url=url, home=home)
        imported = import_trace(folder, Run(databases, settings))
        yield Loaded(folder, databases, settings, imported, refresh(Run(databases, settings)), oracle)


@pytest.fixture
def stored(loaded: Loaded) -> Iterator[psycopg.Connection]:
    """A connection to the aggregates of the trace."""
    with psycopg.connect(loaded.databases.analytics_url, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def test_the_whole_trace_arrives(loaded: Loaded, stored: psycopg.Connection) -> None:
    """Every row of the trace's files is written, and no file is ignored."""
    oracle = dict(loaded.oracle)
    written = {table.name: table.rows_written for table in loaded.imported.tables}

    if "steps" in oracle:
        oracle["execution_logs"] = oracle["steps"]["rows"]
        levels = stored.execute("SELECT level::text, count(*) FROM orchestration.execution_logs GROUP BY 1")
        assert dict(levels.fetchall()) == oracle["steps"]["levels"]
    files = {file.name.removesuffix(".csv.gz") for file in loaded.folder.glob("*.csv.gz")}
    assert written == {name: oracle[name] for name in files}
    assert loaded.imported.ignored == ()


def test_every_cell_is_what_the_source_says(loaded: Loaded, stored: psycopg.Connection) -> None:
    """Plain SQL on the source gives the same cells; in a sample, those of every eighth organization."""
    keys = [row[0] for row in stored.execute("SELECT id FROM orchestration.organizations ORDER BY id")]
    mine = keys if EVERYTHING else keys[::8]

    report = verify(loaded.run, organization_ids=mine)

    for compared, refreshed, table in (
        (report, loaded.refreshed, "aggregate_metrics"),
        (report.steps, loaded.refreshed.steps, "aggregate_step_metrics"),
    ):
        counted = stored.execute(f"SELECT organization_id, count(*) FROM analytics.{table} GROUP BY 1")
        there = dict(counted.fetchall())
        assert sum(there.values()) == refreshed.cells_written
        assert compared.cells_compared == sum(there.get(key, 0) for key in mine)
        assert (compared.cells_pending, compared.differences) == (0, ())


def test_every_figure_that_can_be_answered_agrees(loaded: Loaded, stored: psycopg.Connection) -> None:
    """Each figure of the oracle agrees with the stored cells, or a reason says why they do not tell."""
    # Hundreds of figures are asked for one by one, of everybody: no index of ours is for that.
    stored.execute("CREATE INDEX ON analytics.aggregate_metrics (period, workflow_id, client_id)")
    trace = NAMES.index(loaded.folder.name)

    answers = Answers(stored, loaded.oracle)

    assert answers.disagreed == []
    assert answers.agreed | answers.unanswered.keys() == {path for path, _ in leaves(loaded.oracle)}
    assert len(answers.agreed) == AGREED[trace]
    assert answers.reasons == Counter({reason: counts[trace] for reason, counts in UNANSWERED.items()})


@pytest.mark.parametrize("loaded", ["eicu_medication"], indirect=True)
def test_negative_durations_are_listed_and_counted_but_not_timed(
    loaded: Loaded, stored: psycopg.Connection
) -> None:
    """Each order that ends before it starts is listed once, is in the totals, and is in no duration."""
    negative = loaded.oracle["anomalies"]["completed_at < started_at"]

    select = "SELECT reason, effect, count(DISTINCT job_id) FROM analytics.job_anomalies GROUP BY 1, 2"
    listed = stored.execute(select).fetchall()
    counted, timed, shortest = stored.execute(
        "SELECT sum(total_executions), sum(timed_executions), min(min_duration_ms)"
        " FROM analytics.aggregate_metrics WHERE period = 'month'"
        " AND workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all'",
        {"all": ALL},
    ).fetchone()

    assert listed == [("negative_duration", "not_timed", negative)]
    assert (counted, timed) == (loaded.oracle["jobs"], loaded.oracle["jobs"] - negative)
    assert shortest == loaded.oracle["nonnegative"]["overall"]["duration"]["min_ms"] == 0


@pytest.mark.parametrize("loaded", ["hospital_billing"], indirect=True)
def test_the_same_trace_again_changes_nothing(loaded: Loaded) -> None:
    """A second import writes no row, and a refresh after it neither."""
    again = import_trace(loaded.folder, loaded.run)
    report = refresh(loaded.run)

    assert [table.rows for table in again.tables] == [table.rows for table in loaded.imported.tables]
    assert sum(table.rows_written for table in again.tables) == 0
    assert (report.cells_written, report.cells_deleted) == (0, 0)

"""Billing packages of a hospital: months from the first event to the last, unfinished ones among them."""

import psycopg
import pytest

from pipelines.devtools.trace_import import import_trace
from pipelines.runs.refresh import refresh
from tests.support.trace_answers import (
    A_NAME,
    BY_START,
    BY_STATUS,
    IN_MANY_CELLS,
    NOT_STORED,
    OF_OTHER_COLUMNS,
    OTHER_STATUSES,
    WITH_NEGATIVES,
    compare,
    leaves,
)
from tests.traces.conftest import Loaded, compare_with_source

TRACE = "hospital_billing"


def test_the_whole_trace_arrives(loaded: Loaded, stored: psycopg.Connection) -> None:
    """Every row of the five files is written, and none is ignored."""
    written = {table.name: table.rows_written for table in loaded.imported.tables}

    levels = stored.execute("SELECT level::text, count(*) FROM orchestration.execution_logs GROUP BY level")
    assert dict(levels.fetchall()) == loaded.oracle["steps"]["levels"]
    assert written.pop("execution_logs") == loaded.oracle["steps"]["rows"]
    assert written == {
        name: loaded.oracle[name] for name in ("organizations", "workflows", "clients", "jobs")
    }
    assert loaded.imported.ignored == ()


def test_every_cell_is_what_the_source_says(loaded: Loaded, stored: psycopg.Connection) -> None:
    """Plain SQL on the source gives the same cells, none missing and none left over."""
    compare_with_source(loaded, stored)


@pytest.mark.usefixtures("_found_by_index")
def test_every_figure_that_can_be_answered_agrees(loaded: Loaded, stored: psycopg.Connection) -> None:
    """Each figure of the oracle agrees with the stored cells, or there is a reason why they cannot say."""
    answers = compare(stored, loaded.oracle)

    assert answers.disagreed == []
    assert answers.agreed | answers.unanswered.keys() == {path for path, _ in leaves(loaded.oracle)}
    assert len(answers.agreed) == 757
    assert answers.reasons == {
        OTHER_STATUSES: 8,
        A_NAME: 3,
        NOT_STORED: 93,
        BY_START: 379,
        OF_OTHER_COLUMNS: 5,
        IN_MANY_CELLS: 228,
        WITH_NEGATIVES: 11,
        BY_STATUS: 24,
    }


def test_the_same_trace_again_changes_nothing(loaded: Loaded) -> None:
    """A second import writes no row, and a refresh after it neither."""
    again = import_trace(loaded.folder, loaded.databases, loaded.settings)
    report = refresh(loaded.databases, loaded.settings)

    assert [table.rows for table in again.tables] == [table.rows for table in loaded.imported.tables]
    assert sum(table.rows_written for table in again.tables) == 0
    assert (report.cells_written, report.cells_deleted) == (0, 0)

"""Loan applications of a bank: declined in seconds or approved in weeks, times in milliseconds."""

import psycopg
import pytest

from tests.support.trace_answers import (
    A_NAME,
    BY_START,
    BY_STATUS,
    IN_MANY_CELLS,
    NOT_STORED,
    OF_OTHER_COLUMNS,
    OTHER_STATUSES,
    SAME_OUTCOME,
    compare,
    leaves,
)
from tests.traces.conftest import Loaded, compare_with_source

TRACE = "bpic2012_loans"


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
    assert len(answers.agreed) == 788
    assert answers.reasons == {
        OTHER_STATUSES: 8,
        A_NAME: 3,
        NOT_STORED: 82,
        BY_START: 362,
        OF_OTHER_COLUMNS: 91,
        IN_MANY_CELLS: 216,
        SAME_OUTCOME: 2,
        BY_STATUS: 24,
    }

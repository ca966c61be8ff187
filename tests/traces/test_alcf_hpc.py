"""Jobs of three supercomputers: 159 projects, waits of months, more failures than successes on one."""

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
    compare,
    leaves,
)
from tests.traces.conftest import Loaded, compare_with_source

TRACE = "alcf_hpc"


def test_the_whole_trace_arrives(loaded: Loaded) -> None:
    """Every row of the four files is written; a file that no table takes yet is named."""
    written = {table.name: table.rows_written for table in loaded.imported.tables}

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
    assert len(answers.agreed) == 797
    assert answers.reasons == {
        OTHER_STATUSES: 7,
        A_NAME: 3,
        NOT_STORED: 61,
        BY_START: 430,
        OF_OTHER_COLUMNS: 146,
        IN_MANY_CELLS: 236,
        BY_STATUS: 24,
    }

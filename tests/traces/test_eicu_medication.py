"""Medication orders of 144 hospitals: thousands end before they start, and some name no initiator."""

import psycopg
import pytest

from tests.support.oracle import ALL
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

TRACE = "eicu_medication"


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
    assert len(answers.agreed) == 638
    assert answers.reasons == {
        OTHER_STATUSES: 2,
        A_NAME: 3,
        NOT_STORED: 92,
        BY_START: 430,
        OF_OTHER_COLUMNS: 15,
        WITH_NEGATIVES: 216,
        IN_MANY_CELLS: 88,
        BY_STATUS: 54,
    }


def test_negative_durations_are_listed_and_counted_but_not_timed(
    loaded: Loaded, stored: psycopg.Connection
) -> None:
    """Each order that ends before it starts is listed once, is in the totals, and is in no duration."""
    negative = loaded.oracle["anomalies"]["completed_at < started_at"]

    listed = stored.execute(
        "SELECT reason, effect, count(DISTINCT job_id) FROM analytics.job_anomalies GROUP BY 1, 2"
    ).fetchall()
    counted, timed, shortest = stored.execute(
        """
        SELECT sum(total_executions), sum(timed_executions), min(min_duration_ms)
        FROM analytics.aggregate_metrics
        WHERE period = 'month' AND workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all'
        """,
        {"all": ALL},
    ).fetchone()

    assert listed == [("negative_duration", "not_timed", negative)]
    assert (counted, timed) == (loaded.oracle["jobs"], loaded.oracle["jobs"] - negative)
    assert shortest == loaded.oracle["nonnegative"]["overall"]["duration"]["min_ms"] == 0

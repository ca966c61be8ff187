"""Medication orders of 144 hospitals: thousands end before they start, and some name no initiator."""

from typing import ClassVar

import psycopg

from tests.support import trace_answers as why
from tests.support.oracle import ALL
from tests.traces.conftest import Loaded, TraceTests


class TestEicuMedication(TraceTests):
    name = "eicu_medication"
    agreed = 638
    unanswered: ClassVar = {
        why.OTHER_STATUSES: 2,
        why.A_NAME: 3,
        why.NOT_STORED: 92,
        why.BY_START: 430,
        why.OF_OTHER_COLUMNS: 15,
        why.WITH_NEGATIVES: 216,
        why.IN_MANY_CELLS: 88,
        why.BY_STATUS: 54,
    }

    def test_negative_durations_are_listed_and_counted_but_not_timed(
        self, loaded: Loaded, stored: psycopg.Connection
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
            WHERE
                period = 'month' AND workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all'
            """,
            {"all": ALL},
        ).fetchone()

        assert listed == [("negative_duration", "not_timed", negative)]
        assert (counted, timed) == (loaded.oracle["jobs"], loaded.oracle["jobs"] - negative)
        assert shortest == loaded.oracle["nonnegative"]["overall"]["duration"]["min_ms"] == 0

"""A row is judged by itself: what is wrong with it, and whether it counts all the same."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import polars as pl
import pytest

from pipelines.extract.validation import FOUND_COLUMNS, anomalies, changes, with_verdict
from pipelines.frames import schema_of
from pipelines.subjects.jobs import FLAGS, JOBS

NOW = datetime(2024, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NIL, MAX = bytes(16), b"\xff" * 16

GOOD: dict[str, Any] = {
    **{f"{name}_id": name[:1].encode() * 16 for name in ("job", "organization", "workflow", "client")},
    "initiator_type": "USER",
    "status": "COMPLETED",
    "row_hash": 1,
    "created_at": NOW - 3 * HOUR,
    "started_at": NOW - 2 * HOUR,
    "completed_at": NOW - HOUR,
    **dict.fromkeys(FLAGS, False),
}
Y1999, Y2000 = (datetime(year, 1, 1, tzinfo=UTC) for year in (1999, 2000))
MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)


ODD = {"missing_timestamp": True, "infinite_timestamp": True, "workflow_id": NIL, "foreign_client": True}

# Missing clients, zero durations and the edges of the accepted time are no anomalies.
HARMLESS: list[dict[str, Any]] = [
    {},
    {"status": "FAILED"},
    {"client_id": None, "initiator_type": None},
    {"initiator_type": "unknown"},
    {"initiator_type": "ü" * 500},
    {"started_at": NOW - HOUR},
    {"completed_at": NOW + DAY},
    {"completed_at": Y2000, "started_at": Y1999},
]

# Each is spoilt in one way and does not count.
SPOILT: list[tuple[str, dict[str, Any]]] = [
    ("missing_timestamp", {"completed_at": None, "missing_timestamp": True}),
    ("infinite_timestamp", {"completed_at": None, "infinite_timestamp": True}),
    ("timestamp_out_of_range", {"started_at": None, "timestamp_out_of_range": True}),
    ("timestamp_out_of_range", {"started_at": Y1999, "completed_at": Y2000 - MICROSECOND}),
    ("future_timestamp", {"completed_at": NOW + DAY + MICROSECOND}),
    *(
        ("reserved_identifier", {f"{name}_id": value})
        for name, value in product(("organization", "workflow", "client"), (NIL, MAX))
    ),
    ("reserved_identifier", {"initiator_type": "all"}),
    ("initiator_type_too_long", {"initiator_type": "x" * 501}),
    ("foreign_workflow", {"foreign_workflow": True}),
    ("foreign_client", {"foreign_client": True}),
    ("unknown_status", {"status": "ARCHIVED"}),
    ("unknown_status", {"status": None}),
]


@pytest.mark.parametrize(
    ("reasons", "counts", "columns"),
    [
        *((set(), True, harmless) for harmless in HARMLESS),
        *(({reason}, False, spoilt) for reason, spoilt in SPOILT),
        # Clocks of two servers disagree; the job happened.
        ({"negative_duration"}, True, {"started_at": NOW}),
        # Two reasons are two rows, and the one that forbids counting wins.
        ({"negative_duration", "foreign_client"}, False, {"started_at": NOW, "foreign_client": True}),
        # Whatever is odd about an unfinished row is nobody's business yet.
        *((set(), False, ODD | {"status": status}) for status in ("PENDING", "RUNNING", "CANCELLED")),
        # A deleted row is neither counted nor listed, not even one of an unheard-of status.
        (set(), False, {"deleted": True}),
        (set(), False, {"deleted": True, "status": "ARCHIVED", "started_at": NOW}),
    ],
)
def test_a_row_counts_unless_a_reason_forbids_it(
    reasons: set[str], counts: bool, columns: dict[str, Any]
) -> None:
    """Exactly the reasons that apply are given, and a negative duration alone still counts.

    Unfinished and deleted rows are neither counted nor listed.
    """
    assert verdict(columns) == (reasons, counts)


def test_without_a_tolerance_any_future_counts() -> None:
    """Off means off."""
    assert verdict({"completed_at": datetime(9999, 1, 1, tzinfo=UTC)}, tolerance=None) == (set(), True)


def test_a_spoilt_row_does_not_touch_its_neighbours() -> None:
    """Rows are judged one by one, in whatever company."""
    rows = [GOOD | {"job_id": bytes([number]) * 16} for number in range(3)]
    rows[1]["foreign_workflow"] = True

    judged = judge(rows)

    assert judged["counts"].to_list() == [True, False, True]
    assert anomalies(judged).rows() == [(bytes([1]) * 16, b"o" * 16, "foreign_workflow", "not_counted", "")]


def test_the_facts_need_the_day_of_creation() -> None:
    """It is where a job lives; the flags and the reasons are left behind."""
    kept = changes(judge([GOOD | {"created_at": datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)}]))

    assert kept["created_date"].to_list() == [datetime(2024, 2, 29).date()]  # noqa: DTZ001
    assert kept.columns == list(schema_of(JOBS.fact.stored_columns))
    assert kept["gone"].to_list() == [None]


@pytest.mark.parametrize(
    ("why", "changed"),
    [
        (None, {}),
        (None, {"started_at": NOW}),
        ("deleted", {"deleted": True}),
        ("deleted", {"deleted": True, "status": "RUNNING", "foreign_client": True}),
        ("retried", {"status": "PENDING", "started_at": None, "completed_at": None}),
        ("retried", {"status": "RUNNING", "completed_at": None, "foreign_client": True}),
        ("edited", {"status": "CANCELLED"}),
        ("edited", {"status": "ARCHIVED"}),
        ("edited", {"status": None}),
        ("edited", {"completed_at": None, "missing_timestamp": True}),
        ("edited", {"client_id": NIL}),
    ],
)
def test_a_row_that_does_not_count_says_why_it_left(why: str | None, changed: dict[str, Any]) -> None:
    """A job that was counted is explained by what became of it; one that counts needs no explanation."""
    kept = changes(judge([GOOD, GOOD | changed]))

    assert kept["gone"].to_list() == [None, why]


NO_START = {"started_at": None, "missing_timestamp": True}
NO_END = {"completed_at": None, "missing_timestamp": True}
RANGE = "timestamp_out_of_range"
FAR = datetime(9924, 1, 1, tzinfo=UTC)
OF_CENTURIES = {"started_at": FAR, "completed_at": FAR - timedelta(milliseconds=250_000_000_000_000)}
OLD, OLDER, SOON = (datetime(year, 1, 1, tzinfo=UTC) for year in (999, 998, 2031))
LAST = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("reason", "detail", "spoilt"),
    [
        ("negative_duration", "duration_ms=-3600000", {"started_at": NOW}),
        ("negative_duration", "duration_ms=-0.001", {"started_at": NOW - HOUR + MICROSECOND}),
        ("negative_duration", "duration_ms=-250000000000000", OF_CENTURIES),
        ("future_timestamp", "completed_at=2031-01-01T00:00:00+00:00", {"completed_at": SOON}),
        ("future_timestamp", "completed_at=9999-12-31T23:59:59.999999+00:00", {"completed_at": LAST}),
        (RANGE, "completed_at=0999-01-01T00:00:00+00:00", {"started_at": OLDER, "completed_at": OLD}),
        (RANGE, "completed_at=1999-01-01T00:00:00+00:00", NO_START | {"completed_at": Y1999}),
        *((RANGE, "", {RANGE: True, f"{name}_at": None}) for name in ("completed", "started", "created")),
        ("missing_timestamp", "started_at", NO_START),
        ("missing_timestamp", "started_at", NO_START | {"completed_at": Y1999}),
        ("missing_timestamp", "completed_at", NO_END),
        ("missing_timestamp", "started_at, completed_at", NO_START | NO_END),
        ("missing_timestamp", "", NO_START | NO_END | {"infinite_timestamp": True}),
        ("infinite_timestamp", "", {"completed_at": None, "infinite_timestamp": True}),
        ("unknown_status", "", {"status": "SECRET"}),
        ("reserved_identifier", "", {"initiator_type": "all"}),
        ("foreign_workflow", "", {"foreign_workflow": True}),
        ("foreign_client", "", {"foreign_client": True}),
    ],
)
def test_a_reason_says_what_was_seen_in_times(reason: str, detail: str, spoilt: dict[str, Any]) -> None:
    """Enough to find the fault without the row; neither a status nor any other text is repeated."""
    found = anomalies(judge([GOOD | spoilt]))

    assert dict(zip(found["reason"], found["detail"], strict=True))[reason] == detail
    assert pl.Schema(FOUND_COLUMNS) == found.schema


def judge(rows: list[dict[str, Any]], tolerance: timedelta | None = DAY) -> pl.DataFrame:
    """The rows with their verdict, judged now."""
    frame = pl.DataFrame(rows, schema=schema_of(JOBS.fact.columns) | dict.fromkeys(FLAGS, pl.Boolean()))
    return with_verdict(frame, clock=NOW, earliest=Y2000, tolerance=tolerance)


def verdict(spoilt: dict[str, Any], **options: Any) -> tuple[set[str], bool]:
    """The reasons given for a row, and whether it counts."""
    judged = judge([GOOD | spoilt], **options)
    found = anomalies(judged)
    for reason, effect in found.select("reason", "effect").rows():
        assert effect == ("not_timed" if reason == "negative_duration" else "not_counted")
    return set(found["reason"]), judged["counts"].item()

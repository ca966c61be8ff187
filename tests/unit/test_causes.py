"""A change has a cause that a person can be told, seen from the rows before and after it."""

from typing import Any

import polars as pl
import pytest

from pipelines.facts.change_feed import with_cause
from pipelines.frames import schema_of
from pipelines.subjects.jobs import JOBS
from tests.support.fact_changes import Row, change
from tests.support.planting import DAY, MINUTE, NOON

COUNTS = change(1)
LATER = {"started_at": NOON + DAY, "completed_at": NOON + DAY + MINUTE}


@pytest.mark.parametrize(
    ("before", "after", "causes"),
    [
        (None, {}, ["late"]),
        ({}, {"gone": "deleted"}, ["deleted"]),
        ({}, {"gone": "retried"}, ["retried"]),
        ({}, {"gone": "edited"}, ["edited"]),
        ({"gone": "retried"}, LATER, ["retried"]),
        ({"gone": "deleted"}, {}, ["edited"]),
        ({"gone": "deleted"}, LATER, ["edited"]),
        ({"gone": "edited"}, {}, ["edited"]),
        ({}, {"status": "FAILED"}, ["edited", "edited"]),
        ({}, LATER, ["retried", "retried"]),
        ({}, {"completed_at": NOON + DAY}, ["edited", "edited"]),
        ({}, {"started_at": NOON + MINUTE + MINUTE / 2}, ["edited", "edited"]),
        ({"gone": "deleted"}, {"gone": "deleted"}, []),
    ],
)
def test_each_change_has_its_cause(
    before: dict[str, Any] | None, after: dict[str, Any], causes: list[str]
) -> None:
    """Both the cell that was left and the one entered are told why; where it counts not, nothing is told."""
    changes = [changed("insert" if before is None else "update_postimage", COUNTS | after)]
    if before is not None:
        changes.append(changed("update_preimage", COUNTS | before))

    assert causes_of(changes) == [(1, cause) for cause in causes]


def test_a_purge_changes_no_cell_and_a_deletion_by_hand_does() -> None:
    """Rows that count nowhere leave without a word."""
    changes = [changed("delete", change(1, gone="retried")), changed("delete", change(2))]

    assert causes_of(changes) == [(2, "deleted")]


def test_a_job_that_moved_to_another_day_is_edited_on_both() -> None:
    """It is a new row on the one and gone from the other; a neighbour that is new stays late."""
    changes = [
        changed("update_preimage", change(1)),
        changed("update_postimage", change(1, gone="edited")),
        changed("insert", change(1, created_at=NOON + DAY)),
        changed("insert", change(2)),
    ]

    assert causes_of(changes) == [(1, "edited"), (1, "edited"), (2, "late")]


def test_commits_are_told_apart() -> None:
    """A job that came in one commit, was retried in the next and deleted in the last has three causes."""
    retried = COUNTS | LATER
    changes = [
        changed("insert", COUNTS, commit=3),
        changed("update_preimage", COUNTS, commit=4),
        changed("update_postimage", retried, commit=4),
        changed("update_preimage", retried, commit=5),
        changed("update_postimage", retried | {"gone": "deleted"}, commit=5),
    ]

    assert causes_of(changes) == [(1, "late"), (1, "retried"), (1, "retried"), (1, "deleted")]


def test_every_other_column_stays() -> None:
    """Changes keep what they had in any order; a frame without changes has the same columns."""
    changes = [changed("insert", change(job), commit=job) for job in (3, 1, 2)]
    frame = as_frame(changes)

    assert with_cause(frame, JOBS).drop("cause").sort("job_id").equals(frame.sort("job_id"))
    assert with_cause(frame.clear(), JOBS).schema == with_cause(frame, JOBS).schema


def changed(kind: str, row: Row, *, commit: int = 7) -> Row:
    """A row as the feed has it."""
    return row | {"_change_type": kind, "_commit_version": commit}


def as_frame(changes: list[Row]) -> pl.DataFrame:
    """What the facts yield."""
    schema = schema_of(JOBS.fact.stored_columns)
    return pl.DataFrame(changes, schema | {"_commit_version": pl.Int64, "_change_type": pl.String})


def causes_of(changes: list[Row]) -> list[tuple[int, str]]:
    """Which job has which causes, in the order of the commits."""
    causes = with_cause(as_frame(changes), JOBS).sort("job_id", "_commit_version")
    return [(int.from_bytes(job), cause) for job, cause in causes.select("job_id", "cause").rows()]

"""Rows of a frame that are copied into a table arrive as they are, whatever is in them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import Connection

from pipelines.postgres import copying
from pipelines.postgres.copying import copy_frame
from tests.conftest import Cluster
from tests.support.planting import NOON

SCHEMA = {
    "id": pl.Binary(),
    "name": pl.String(),
    "number": pl.Int64(),
    "figure": pl.Float64(),
    "moment": pl.Datetime("us", "UTC"),
    "buckets": pl.List(pl.Int16()),
}

# Whatever PostgreSQL can hold; what its COPY gives a meaning comes often.
SPECIAL = st.sampled_from("\\\t\n\r\bN.,\"'{}é ")
TEXTS = st.text(SPECIAL | st.characters(codec="utf-8", exclude_characters="\0"))
MOMENTS = st.integers(-(10**16), 10**16).map(lambda later_us: NOON + timedelta(microseconds=later_us))
INT64S, INT16S = (st.integers(-(2**bits), 2**bits - 1) for bits in (63, 15))
VALUES = (TEXTS, INT64S, st.floats(allow_nan=False), MOMENTS, st.lists(INT16S, max_size=9))

ROWS = st.lists(st.tuples(st.uuids(), *(st.none() | each for each in VALUES)))


@pytest.fixture(scope="module")
def table(cluster: Cluster) -> Iterator[Connection]:
    """A connection whose table has a column for every kind of value."""
    with psycopg.connect(cluster("embedded")) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE copied (id uuid, name text, number bigint, figure double precision,"
            " moment timestamptz, buckets smallint[])"
        )
        connection.commit()
        yield connection


@given(rows=ROWS)
@example(rows=[])
def test_every_value_arrives_as_it_is(table: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Floats to the last bit, and text with everything that has a meaning in the format."""
    frame = pl.DataFrame([(row[0].bytes, *row[1:]) for row in rows], schema=SCHEMA, orient="row")

    with pytest.MonkeyPatch.context() as patch:
        # So that rows come in more than one part.
        patch.setattr(copying, "_ROWS", 3)
        copied = copy_frame(table, "COPY copied FROM STDIN (FORMAT binary)", frame)
    arrived = table.execute("SELECT * FROM copied").fetchall()
    table.rollback()

    assert copied == len(rows)
    # Where rows of another example were, a new one may come first.
    assert sorted(map(repr, arrived)) == sorted(map(repr, rows))

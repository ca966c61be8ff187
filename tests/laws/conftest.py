"""The computation as the laws see it: jobs in, cells out."""

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import polars as pl
import pytest

from pipelines.calendars.calendar import OFFSET_COLUMNS, ZONE_COLUMNS, Calendar
from pipelines.compute.cells import CellsOf, NumberedRows
from pipelines.frames import schema_of
from pipelines.subjects.jobs import JOBS
from tests.support.generated_jobs import OFFSETS, ZONES
from tests.support.oracle import Cells, Job

IDS = ("organization_id", "workflow_id", "client_id")

CALENDAR = Calendar(
    pl.DataFrame([(key.bytes, zone) for key, zone in ZONES.items()], schema=ZONE_COLUMNS, orient="row"),
    pl.DataFrame(OFFSETS, schema=OFFSET_COLUMNS, orient="row"),
)


@pytest.fixture(scope="module")
def aggregate() -> Iterator[Callable[[Sequence[Job]], Cells]]:
    """A function that gives the cells of jobs, all periods together, computed by the product."""
    with CellsOf(JOBS) as engine:

        def cells_of(jobs: Sequence[Job]) -> Cells:
            numbered = NumberedRows.of(facts(jobs), CALENDAR, JOBS)
            return as_cells(pl.concat(engine.compute(numbered, JOBS.rollup)))

        yield cells_of


def facts(jobs: Sequence[Job]) -> pl.DataFrame:
    """The jobs as the facts keep them."""
    rows = [
        job._asdict()
        | {name: value and value.bytes for name, value in zip(IDS, job[:3], strict=True)}
        | {"job_id": number.to_bytes(16), "created_at": job.started_at, "row_hash": number}
        for number, job in enumerate(jobs)
    ]
    return pl.DataFrame(rows, schema=schema_of(JOBS.fact.columns))


def as_cells(frame: pl.DataFrame) -> Cells:
    """Cells by key; no key may come twice."""
    found = {}
    for row in frame.iter_rows(named=True):
        values = list(row.values())
        organization, period, start, workflow, client, initiator = values[:6]
        key = (
            UUID(bytes=organization),
            period,
            start,
            UUID(bytes=workflow),
            UUID(bytes=client),
            initiator,
        )
        assert key not in found
        found[key] = dict(list(row.items())[6:])
    return found

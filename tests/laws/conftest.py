"""The computation as the laws see it: jobs in, cells out, by every engine."""

from collections.abc import Callable, Sequence
from uuid import UUID

import polars as pl
import pytest

from pipelines.calendars.calendar import OFFSET_COLUMNS, ZONE_COLUMNS, Calendar
from pipelines.compute.engine import AllCells, CellsAt, ChangedCells, DuckDBEngine
from pipelines.frames import schema_of
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.reasons import Restated
from tests.support.generated_jobs import OFFSETS, ZONES
from tests.support.oracle import Cells, Job

Which = AllCells | CellsAt | ChangedCells

IDS = ("organization_id", "workflow_id", "client_id")

CALENDAR = Calendar(
    pl.DataFrame([(key.bytes, zone) for key, zone in ZONES.items()], schema=ZONE_COLUMNS, orient="row"),
    pl.DataFrame(OFFSETS, schema=OFFSET_COLUMNS, orient="row"),
)


# Every engine of the product: a new one conforms when these laws hold for it.
ENGINES = (DuckDBEngine,)

Compute = Callable[[Sequence[Job], Which], Cells]


@pytest.fixture(scope="session", params=ENGINES, ids=lambda engine: engine.__name__)
def compute(request: pytest.FixtureRequest) -> Compute:
    """A function that gives the cells of jobs that are asked for, computed by an engine."""

    def cells_of(jobs: Sequence[Job], which: Which) -> Cells:
        with request.param(facts(jobs).lazy(), CALENDAR, JOBS.rollup, JOBS) as engine:
            cells = list(engine.cells(which))
        return as_cells(pl.concat(cells).drop("reason")) if cells else {}

    return cells_of


@pytest.fixture(scope="session")
def aggregate(compute: Compute) -> Callable[[Sequence[Job]], Cells]:
    """A function that gives all cells of jobs, all periods together, computed by an engine."""
    return lambda jobs: compute(jobs, AllCells({job.organization_id for job in jobs}, Restated.LATE))


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
        owner, workflow, client = (UUID(bytes=each) for each in (organization, workflow, client))
        key = (owner, period, start, workflow, client, initiator)
        assert key not in found
        found[key] = dict(list(row.items())[6:])
    return found

"""The real page on a real server over a real trace, in a real browser."""

import gzip
from collections.abc import Iterator, Sequence
from csv import DictWriter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import BrowserContext

from pipelines.api.auth import signed
from pipelines.api.serving import serving
from pipelines.devtools.trace_import import import_trace
from tests.conftest import Cluster
from tests.postgres.api.conftest import AUDIENCE, SECRET, opened, pipeline_for_many
from tests.support.chromium import Watched, launched, watched
from tests.support.places import TRACES
from tests.support.planting import HOUR, MINUTE, Tenant
from tests.support.trace_figures import Source, read_source, rows

# Two hospitals of about as many orders: whoever sees the neighbour's sees wrong figures.
TRACE = "eicu_medication"
HOSPITAL = "be2eef15-8a83-5434-a27e-56e1a09af776"
NEIGHBOUR = "95d50082-83db-5f4e-b576-6e5191465bb2"

# Their own clocks change twice in the years of the trace; nobody published where they are.
ZONE = "America/New_York"

# What a name may hold: markup, a template of the charts, and more than a line's width.
HOSTILE = "<img src=x onerror=alert(1)> {title|bold} ${1} '; DROP TABLE jobs; --" + " and on" * 12


@dataclass(frozen=True)
class Service:
    """A server, and those who may look at it."""

    address: str
    folder: Path
    source: Source
    hostile_workflow: str
    fresh: Tenant
    idle: Tenant

    @property
    def token(self) -> str:
        """The hospital's."""
        return token_of(UUID(HOSPITAL))

    def names(self, table: str) -> dict[str, str]:
        """What the hospital's workflows or clients are called, by id."""
        mine = (row for row in rows(self.folder, table) if row["organization_id"] == HOSPITAL)
        return {row[f"{table[:-1]}_id"]: row["name"] for row in mine}


def token_of(organization: UUID, valid_for: timedelta = timedelta(minutes=30), secret: str = SECRET) -> str:
    """A token that the server believes until it ends, unless another secret signed it."""
    return signed(organization, secret, AUDIENCE, valid_for)


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    """One browser for a file of tests, each of which has a tab: its driver keeps an event loop running."""
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def service(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A hospital and its neighbour, a tenant whose jobs complete these days, and one without any."""
    if not (TRACES / TRACE).is_dir():
        pytest.skip(f"the trace {TRACE} is not beside this repository")
    part = tmp_path_factory.mktemp("page") / "trace"
    hostile = write_part(part)
    with pipeline_for_many(cluster, tmp_path_factory) as pipeline:
        import_trace(part, pipeline.run)
        fresh, idle = pipeline.plant_tenant("Fresh"), pipeline.plant_tenant("Idle")
        pipeline.plant_jobs(fresh, these_days(fresh))
        pipeline.refresh()
        with opened(pipeline) as api, serving(api.client.app, "127.0.0.1", 0) as server:
            source = read_source(part, HOSPITAL, ZONE)
            yield Service(server.address, part, source, hostile, fresh, idle)


@pytest.fixture
def seen(browser: BrowserContext, service: Service) -> Iterator[Watched]:
    """A page in a profile of its own, that ends without a word in the console or elsewhere."""
    with watched(browser, service.address) as found:
        yield found
    assert found.faults == []
    assert found.elsewhere == []


def write_part(folder: Path) -> str:
    """Write what the trace has of both hospitals, in their zone; gives the workflow with a hostile name."""
    folder.mkdir()
    whole = TRACES / TRACE
    kept = {
        table: [row for row in rows(whole, table) if row["organization_id"] in (HOSPITAL, NEIGHBOUR)]
        for table in ("organizations", "workflows", "clients", "jobs")
    }
    for row in kept["organizations"]:
        row["time_zone"] = ZONE
    mine = [row for row in kept["workflows"] if row["organization_id"] == HOSPITAL]
    mine[0]["name"] = HOSTILE
    next(row for row in kept["clients"] if row["organization_id"] == HOSPITAL)["name"] = HOSTILE
    for table, lines in kept.items():
        (folder / f"{table}.csv.gz").write_bytes(gzip.compress(as_csv(lines).encode()))
    return mine[0]["workflow_id"]


def as_csv(lines: Sequence[dict[str, str]]) -> str:
    """Rows as the text of a file."""
    text = StringIO()
    writer = DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def these_days(tenant: Tenant) -> list[dict[str, object]]:
    """A job in every third hour from two days before now on; none is in between."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    times = [now - 3 * number * HOUR for number in range(1, 17)]
    return [
        {"completed_at": at + MINUTE, "started_at": at, "workflow_id": tenant.workflows[0]} for at in times
    ]

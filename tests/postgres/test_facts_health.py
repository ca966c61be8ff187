"""Tidying keeps what an organization that lags still needs, for as long as a setting says and no longer."""

import os
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from pipelines.errors import FactsUnusable, FeedLost
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.folder import set_aside
from pipelines.runs.maintenance import TidyReport
from pipelines.settings import Settings
from pipelines.state.watermarks import find_watermarks
from pipelines.subjects.jobs import JOBS
from tests.support.fact_changes import change, frame
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, NOON, plant_watermark

TENANT, NEIGHBOUR, ORPHAN = UUID(int=1), UUID(int=9), UUID(int=5)

pytestmark = pytest.mark.every_postgres


@pytest.fixture
def impatient(pipeline: Pipeline) -> Pipeline:
    """By its settings, what is older than a moment is old."""
    return pipeline.having(feed_retention=timedelta(milliseconds=50))


@pytest.fixture
def facts(pipeline: Pipeline) -> Facts:
    """Facts with two changes, of which the tenant lacks the last one and its neighbour none.

    A third organization was published from a table that is no more.
    """
    facts = open_facts(pipeline.settings)
    facts.fill(frame(change(1), change(2), change(900, organization_id=NEIGHBOUR.bytes)))
    publish(pipeline, facts, TENANT)
    plant_watermark(pipeline.analytics, ORPHAN, UUID(int=77), facts.version)
    facts.absorb(frame(change(1, row_hash=-1), change(2, gone="deleted")))
    publish(pipeline, facts, NEIGHBOUR)
    return facts


@pytest.mark.usefixtures("facts")
def test_an_organization_that_lags_keeps_what_it_needs(pipeline: Pipeline) -> None:
    """Within the retention its changes can be told, and nobody is published as a whole."""
    before = find_watermarks(pipeline.analytics, JOBS)
    make_old(pipeline.settings, days=5)

    report = pipeline.tidy_facts()

    assert report == TidyReport(0, 0, 0, 0)
    assert find_watermarks(pipeline.analytics, JOBS) == before
    changes = open_facts(pipeline.settings).changes_since(before[TENANT].published_version)
    assert [each.height for each in changes] == [4]


@pytest.mark.usefixtures("facts")
def test_an_organization_that_lags_for_too_long_holds_nobody_up(
    pipeline: Pipeline, impatient: Pipeline
) -> None:
    """Its version is forgotten before its files go; whoever is current, or elsewhere, is not touched."""
    before = find_watermarks(pipeline.analytics, JOBS)
    make_old(impatient.settings, days=5)
    time.sleep(0.1)

    report = impatient.tidy_facts()

    after = find_watermarks(pipeline.analytics, JOBS)
    newest = open_facts(impatient.settings)
    assert report.organizations_forgotten == 1
    assert report.files_removed > 0
    assert not after[TENANT].shows(newest)
    assert after[NEIGHBOUR] == before[NEIGHBOUR]
    assert after[ORPHAN] == before[ORPHAN]
    assert newest.rows_by_organization() == {TENANT: 1, NEIGHBOUR: 1}
    with pytest.raises(FeedLost):
        list(newest.changes_since(before[TENANT].published_version))


def test_tidying_leaves_nobody_behind(facts: Facts, pipeline: Pipeline, impatient: Pipeline) -> None:
    """Its own commits change no job: whoever was current stays so, however long nothing else happens."""
    publish(pipeline, facts, TENANT)
    before = find_watermarks(pipeline.analytics, JOBS)
    for _ in range(2):
        make_old(impatient.settings, days=5)
        time.sleep(0.1)

        assert impatient.tidy_facts().organizations_forgotten == 0

    assert find_watermarks(pipeline.analytics, JOBS) == before
    assert open_facts(impatient.settings).version > facts.version


def test_what_is_of_no_use_goes(facts: Facts, pipeline: Pipeline, impatient: Pipeline) -> None:
    """Small files become one, old tombstones leave, and what was set aside is thrown away."""
    publish(pipeline, facts, TENANT)
    aside = set_aside(impatient.settings.facts_location)
    anew = open_facts(impatient.settings)
    publish(pipeline, anew, TENANT, NEIGHBOUR, ORPHAN)
    for job in range(3):
        anew.absorb(frame(change(job), change(10 + job, created_at=NOON + DAY)))
    anew.absorb(frame(change(11, gone="deleted")))
    time.sleep(0.1)

    report = impatient.tidy_facts()

    assert (report.files_merged, report.tombstones_removed) == (5, 1)
    assert report.files_removed > 0
    assert aside is not None
    assert not aside.exists()
    assert open_facts(impatient.settings).rows == 5


@pytest.mark.usefixtures("facts")
@pytest.mark.parametrize("why", ["history is sealed", "somebody waits"])
def test_what_may_be_the_only_copy_stays(why: str, pipeline: Pipeline, impatient: Pipeline) -> None:
    """A sealed history, and an organization that is not published from the new facts, keep the old ones."""
    sealed = impatient.having(sealed_before=NOON.date() if why == "history is sealed" else None)
    aside = set_aside(sealed.settings.facts_location)
    anew = open_facts(sealed.settings)
    publish(pipeline, anew, TENANT, NEIGHBOUR, *(() if why == "somebody waits" else (ORPHAN,)))
    time.sleep(0.1)

    report = sealed.tidy_facts()

    assert report.files_removed == 0
    assert sealed.status().set_aside == (str(aside),)
    assert len(list(aside.rglob("*.parquet"))) >= 2


def test_damage_in_a_file_that_nobody_reads_is_found(facts: Facts, pipeline: Pipeline) -> None:
    """It is found before anything is merged or removed."""
    file = max(Path(pipeline.settings.facts_location).glob("created_date=*/*.parquet"), key=os.path.getmtime)
    content = file.read_bytes()
    file.write_bytes(content[:4] + bytes(len(content) - 12) + content[-8:])

    with pytest.raises(FactsUnusable):
        pipeline.tidy_facts()

    assert open_facts(pipeline.settings).version == facts.version


def publish(pipeline: Pipeline, facts: Facts, *organizations: UUID) -> None:
    """Record that the cells of these organizations show these facts as they are."""
    for each in organizations:
        plant_watermark(pipeline.analytics, each, facts.table_id, facts.version)


def make_old(settings: Settings, *, days: int) -> None:
    """Let days pass, for every file."""
    then = time.time() - days * 86_400
    for file in Path(settings.facts_location).rglob("*.parquet"):
        os.utime(file, (then, then))

"""The screenshots of a tenant, page by page, by the index that was made for it."""

import re
from datetime import timedelta

import psycopg
import pytest

from pipelines.errors import JobNotVisible, RowRefused
from pipelines.executions.repositories import ScreenshotType
from pipelines.executions.transactions import filled
from tests.postgres.executions.conftest import Begin, plant_screenshot
from tests.support.planting import NOON, Tenant, plant_job

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_are_the_whole_in_order(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant, size: int
) -> None:
    """The newest first, nothing twice and nothing left out where several were taken at once."""
    jobs = [plant_job(source, acme), plant_job(source, acme)]
    theirs = plant_job(source, neighbour)
    planted = []
    for number in range(7):
        moment = NOON + number // 3 * SECOND
        planted.append((moment, plant_screenshot(source, acme, jobs[number % 2], captured_at=moment)))
        plant_screenshot(source, neighbour, theirs, captured_at=moment)

    for job in (None, *jobs):
        pages, after = [], None
        with begin(acme) as work:
            while page := (
                work.screenshots.find_by_job(job, after=after, rows=size)
                if job
                else work.screenshots.find_by_organization(after=after, rows=size)
            ):
                assert len(page) <= size
                assert not set(page) & set(pages)
                pages += page
                after = (page[-1].captured_at, page[-1].id)

        mine = [place for number, place in enumerate(planted) if job in (None, jobs[number % 2])]
        assert [(each.captured_at, each.id) for each in pages] == sorted(mine, reverse=True)
        assert {each.job_id for each in pages} == {job} if job else set(jobs)


def test_a_created_screenshot_is_found(begin: Begin, source: psycopg.Connection, acme: Tenant) -> None:
    """With everything that was said of it."""
    job = plant_job(source, acme)
    with begin(acme) as work:
        created = work.screenshots.create(
            job,
            ScreenshotType.ERROR,
            image_reference="images/1",
            image_size_bytes=2,
            image_sha256="ab" * 32,
            captured_at=NOON,
            step_name="Open chart",
        )
        work.commit()

    with begin(acme) as work:
        found = work.screenshots.find_by_job(job)

    assert found == (created,)
    assert (created.job_id, created.screenshot_type, created.step_name) == (
        job,
        ScreenshotType.ERROR,
        "Open chart",
    )
    assert (created.image_reference, created.image_size_bytes, created.image_sha256) == (
        "images/1",
        2,
        "ab" * 32,
    )
    assert (created.captured_at, created.deleted_at) == (NOON, None)


@pytest.mark.parametrize("whose", ["the neighbour's", "deleted"])
def test_a_screenshot_is_of_a_job_of_the_tenants_own(
    begin: Begin, source: psycopg.Connection, acme: Tenant, neighbour: Tenant, whose: str
) -> None:
    """Nobody hangs a picture on a job that is not theirs, or no longer there."""
    job = plant_job(source, acme, deleted_at=NOON) if whose == "deleted" else plant_job(source, neighbour)

    with begin(acme) as work, pytest.raises(JobNotVisible):
        create(work, job)


def test_a_broken_rule_is_named_and_no_value_is(
    begin: Begin, source: psycopg.Connection, acme: Tenant
) -> None:
    """The words of the database, which hold the row, stay behind."""
    job = plant_job(source, acme)

    with begin(acme) as work, pytest.raises(RowRefused) as refusal:
        create(work, job, image_sha256="private")

    assert str(refusal.value).endswith("(execution_screenshots_image_reference_is_whole)")
    assert "private" in str(refusal.value.__cause__)


@pytest.mark.every_postgres
def test_a_page_is_read_from_the_index(source: psycopg.Connection, acme: Tenant, neighbour: Tenant) -> None:
    """No page reads or sorts all pictures of a tenant, and those of a job are found by the job."""
    for tenant in (acme, neighbour):
        job = plant_job(source, tenant)
        source.execute(
            "INSERT INTO orchestration.execution_screenshots (organization_id, job_id, screenshot_type,"
            " image_reference, image_size_bytes, image_sha256, captured_at)"
            " SELECT %s, %s, 'STEP', 'r', 1, repeat('0', 64), %s::timestamptz + number * interval '1 second'"
            " FROM generate_series(1, 3000) AS number",
            [tenant.organization, job, NOON],
        )
    source.execute("ANALYZE orchestration.execution_screenshots, orchestration.jobs")
    values = {
        "organization_id": acme.organization,
        "include_deleted": False,
        "job_id": job,
        "after_captured_at": None,
        "after_id": None,
        "rows": 50,
    }

    plans = [
        plan(source, "true", values),
        plan(source, "true", values | {"after_captured_at": NOON + 900 * SECOND, "after_id": job}),
        plan(source, "job_id = %(job_id)s", values),
    ]

    for each in plans[:2]:
        assert "using execution_screenshots_by_organization_id_captured_at" in each
        assert not re.search(r"Seq Scan on execution_screenshots|-> +Sort ", each)
    assert "captured_at <=" in plans[1]
    assert "Seq Scan on execution_screenshots" not in plans[2]


def plan(source: psycopg.Connection, of_job: str, values: dict[str, object]) -> str:
    """How the server would find a page of the repository."""
    visible = filled("executions/visible_of_jobs", table="execution_screenshots")
    text = filled("executions/find_page", visible=visible, columns="*", of_job=of_job)
    return "\n".join(line for (line,) in source.execute("EXPLAIN " + text, values))


def create(work: object, job: object, **columns: object) -> None:
    """Create a screenshot, except for the columns given."""
    work.screenshots.create(
        job,
        ScreenshotType.STEP,
        **{"image_reference": "r", "image_size_bytes": 1, "image_sha256": "0" * 64, "captured_at": NOON}
        | columns,
    )

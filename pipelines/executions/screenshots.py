"""The screenshots of one tenant's executions."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from pipelines.errors import JobNotVisible
from pipelines.executions.execution_records import Screenshot
from pipelines.executions.of_tenant import OfTenant
from pipelines.executions.screenshot_kinds import ScreenshotType
from pipelines.executions.transactions import Row

# So many pictures fit a page.
_ROWS: Final = 100

# When the last picture of a page was taken, and its id.
Place = tuple[datetime, UUID]


class ScreenshotRepository(OfTenant):
    """Screenshots in the transaction of a unit of work, the newest first; they may show health data.

    Deleted ones, and those of deleted jobs, are not there unless they are asked for.
    """

    def find_by_organization(
        self, *, after: Place | None = None, rows: int = _ROWS, include_deleted: bool = False
    ) -> tuple[Screenshot, ...]:
        """All of the tenant's, `rows` at most, going on `after` one. Raises `AccessNotLogged`."""
        self._accesses.record("execution_screenshots")
        found = self._rows(
            "screenshots/find_by_organization",
            include_deleted=include_deleted,
            rows=rows,
            **_after(after),
        )
        return tuple(map(_screenshot_of, found))

    def find_by_job(
        self, job_id: UUID, *, after: Place | None = None, rows: int = _ROWS, include_deleted: bool = False
    ) -> tuple[Screenshot, ...]:
        """Those of one job likewise. Raises `AccessNotLogged`."""
        self._accesses.record("execution_screenshots", job_id=job_id)
        found = self._rows(
            "screenshots/find_by_job",
            job_id=job_id,
            include_deleted=include_deleted,
            rows=rows,
            **_after(after),
        )
        return tuple(map(_screenshot_of, found))

    def create(
        self,
        job_id: UUID,
        screenshot_type: ScreenshotType,
        *,
        image_reference: str,
        image_size_bytes: int,
        image_sha256: str,
        captured_at: datetime,
        step_name: str | None = None,
    ) -> Screenshot:
        """A new one, whose image is in blob storage already. Raises `JobNotVisible` and `RowRefused`."""
        for row in self._rows(
            "screenshots/create",
            screenshot_id=uuid4(),
            job_id=job_id,
            step_name=step_name,
            screenshot_type=screenshot_type.value,
            image_reference=image_reference,
            image_size_bytes=image_size_bytes,
            image_sha256=image_sha256,
            captured_at=captured_at,
        ):
            return _screenshot_of(row)
        raise JobNotVisible

    def delete(self, screenshot_id: UUID) -> bool:
        """Soft-delete one, but not its image; whether there was one."""
        return bool(self._rows("screenshots/delete", screenshot_id=screenshot_id, include_deleted=False))


def _after(place: Place | None) -> dict[str, object]:
    captured_at, screenshot_id = place or (None, None)
    return {"after_captured_at": captured_at, "after_id": screenshot_id}


def _screenshot_of(row: Row) -> Screenshot:
    return Screenshot(
        id=row["id"],
        job_id=row["job_id"],
        step_name=row["step_name"],
        screenshot_type=ScreenshotType(row["screenshot_type"]),
        image_reference=row["image_reference"],
        image_size_bytes=row["image_size_bytes"],
        image_sha256=row["image_sha256"],
        captured_at=row["captured_at"],
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
    )

"""Jobs, workflows, screenshots and retrieved rules of one tenant: records, and the repositories of these."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.errors import BlobDamaged, JobNotVisible, RagRulesMalformed, WorkflowNotVisible
from pipelines.executions.blobs import Blob, BlobStore
from pipelines.executions.json_limits import checked_json, json_size, json_text
from pipelines.executions.transactions import Row, TenantRepository, filled
from pipelines.subjects.jobs import Status

T = TypeVar("T")

# How many screenshots a page holds.
_ROWS: Final = 100

# When the last screenshot of a page was taken, and its id.
Place = tuple[datetime, UUID]


@dataclass(frozen=True)
class Job:
    """One execution of a workflow, without what it returned."""

    id: UUID
    workflow_id: UUID
    client_id: UUID | None
    initiator_type: str | None
    status: Status
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True)
class JobResult:
    """What a job returned, as JSON: dictionaries, lists, texts, numbers, truths and None."""

    job_id: UUID
    result: Any


@dataclass(frozen=True)
class Workflow:
    """What is executed, without its definition."""

    id: UUID
    name: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True)
class WorkflowDefinition:
    """What a workflow does, as JSON; None when it is not known."""

    workflow_id: UUID
    definition: Any


@dataclass(frozen=True)
class _StoredDefinition:
    """The columns of a definition: it is in its row, or in blob storage if it is too large for that."""

    definition: Any = None
    definition_reference: Any = None
    definition_size_bytes: Any = None
    definition_sha256: Any = None


class ScreenshotType(StrEnum):
    """After a step, at an error, or at the end."""

    STEP = "STEP"
    ERROR = "ERROR"
    FINAL = "FINAL"


@dataclass(frozen=True)
class Screenshot:
    """A picture of an execution: where it is in blob storage, and what it is known by."""

    id: UUID
    job_id: UUID
    step_name: str | None
    screenshot_type: ScreenshotType
    image_reference: str
    image_size_bytes: int
    image_sha256: str
    captured_at: datetime
    created_at: datetime
    deleted_at: datetime | None


class Found(BaseModel):
    """An object of JSON whose named members have their types; others may be there."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, serialize_by_alias=True)


class Payer(Found):
    """A payer that was matched, and in which scenario."""

    name: str
    id: str
    scenario: str


class Rule(Found):
    """A rule that was considered, and whether it was used."""

    rule_id: str = Field(alias="ruleId")
    rule_type: str = Field(alias="ruleType")
    condition: str
    action: str
    was_used: bool = Field(alias="wasUsed")


@dataclass(frozen=True)
class RagRules:
    """Which payers and rules retrieval found for a job."""

    job_id: UUID
    payers: tuple[Payer, ...]
    rules: tuple[Rule, ...]
    created_at: datetime
    deleted_at: datetime | None


_PAYERS: Final = TypeAdapter(list[Payer])
_RULES: Final = TypeAdapter(list[Rule])

# What the values of a column become, where a record has them otherwise than the driver gives them.
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "status": Status,
    "screenshot_type": ScreenshotType,
    "payers": lambda found: tuple(_PAYERS.validate_python(found)),
    "rules": lambda found: tuple(_RULES.validate_python(found)),
}


class SoftDeletingRepository(TenantRepository):
    """Rows of one table in the transaction of a unit of work; deleted ones are found only if asked for."""

    _table: ClassVar[str]
    _key: ClassVar[str] = "id"
    _visible: ClassVar[str] = "visible"

    def delete(self, key: UUID) -> bool:
        """Soft-delete a row, and nothing that it refers to or that refers to it; whether there was one."""
        return bool(self._asked("delete_row", {"key": key, "include_deleted": False}))

    def _find(self, kind: type[T], key: UUID, include_deleted: bool) -> T | None:
        found = self._records("find_row", kind, {"key": key, "include_deleted": include_deleted})
        return found[0] if found else None

    def _records(
        self, name: str, kind: Callable[..., T], values: Mapping[str, object], of_job: str = "true"
    ) -> list[T]:
        """The records of a kind that a statement gives; `job_id` of a job is its id, and so on."""
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        own = f"{self._table.removesuffix('s')}_id"
        columns = ", ".join(f"id AS {own}" if each == own else each for each in names)
        return [
            kind(**{name: _READ[name](value) if name in _READ else value for name, value in row.items()})
            for row in self._asked(name, values, columns=columns, of_job=of_job)
        ]

    def _asked(self, name: str, values: Mapping[str, object], **places: str) -> list[Row]:
        visible = filled(f"executions/{self._visible}", table=self._table)
        places |= {"table": self._table, "key": self._key, "visible": visible}
        return self._rows(f"executions/{name}", places, **values)


class JobRepository(SoftDeletingRepository):
    """Jobs of a tenant."""

    _table = "jobs"

    def find_by_id(self, job_id: UUID, *, include_deleted: bool = False) -> Job | None:
        """One job, without what it returned."""
        return self._find(Job, job_id, include_deleted)

    def find_result(self, job_id: UUID, *, include_deleted: bool = False) -> JobResult | None:
        """What it returned, once the access is logged. Raises `AccessNotLogged`."""
        self._accesses.record("jobs.result", job_id=job_id)
        return self._find(JobResult, job_id, include_deleted)

    def create(
        self,
        workflow_id: UUID,
        *,
        client_id: UUID | None = None,
        initiator_type: str | None = None,
        status: Status = Status.PENDING,
        started_at: datetime | None = None,
        completed_at: datetime | None = None,
        result: Any = None,
    ) -> Job:
        """A new job. Raises `JsonTooLarge`, `RowRefused`, `WorkflowNotVisible` and `ClientNotVisible`."""
        values = {"job_id": uuid4(), "workflow_id": workflow_id, "client_id": client_id}
        said = {"initiator_type": initiator_type, "status": status.value}
        times = {"started_at": started_at, "completed_at": completed_at}
        written = checked_json(result, "jobs.result", self._settings)
        (job,) = self._records("create_job", Job, values | said | times | {"result": written})
        return job


class WorkflowRepository(SoftDeletingRepository):
    """Workflows of a tenant."""

    _table = "workflows"

    def find_by_id(self, workflow_id: UUID, *, include_deleted: bool = False) -> Workflow | None:
        """One workflow, without its definition."""
        return self._find(Workflow, workflow_id, include_deleted)

    def find_definition(
        self, workflow_id: UUID, *, include_deleted: bool = False
    ) -> WorkflowDefinition | None:
        """What it does, wherever that is stored. Raises `BlobDamaged` and `BlobsNotUsable`."""
        stored = self._find(_StoredDefinition, workflow_id, include_deleted)
        if stored is None:
            return None
        definition = stored.definition
        if stored.definition_reference is not None:
            blob = Blob(stored.definition_reference, stored.definition_size_bytes, stored.definition_sha256)
            try:
                definition = json.loads(self._blobs.read(blob))
            except BlobDamaged as damaged:
                raise BlobDamaged(f"(the definition of workflow {workflow_id})") from damaged
        return WorkflowDefinition(workflow_id, definition)

    def create(self, name: str) -> Workflow:
        """A new workflow. Raises `RowRefused`."""
        (workflow,) = self._records("create_workflow", Workflow, {"workflow_id": uuid4(), "name": name})
        return workflow

    def create_definition(self, workflow_id: UUID, definition: Any) -> None:
        """What it does from now on; what is too large for the row goes to blob storage, and is there first.

        Raises `JsonNotStorable`, `BlobsNotUsable` and `WorkflowNotVisible`.
        """
        stored = _StoredDefinition()
        if definition is not None:
            written = json_text(definition, "workflows.definition")
            limit = self._settings.json_limit_bytes
            if json_size(written, at_most=limit) <= limit:
                stored = _StoredDefinition(written)
            else:
                # Until this transaction has ended nobody sweeps what no committed row names yet.
                self._rows("executions/share_blobs")
                blob = self._blobs.keep(self._tenant.organization_id, written.encode())
                stored = _StoredDefinition(None, blob.reference, blob.size_bytes, blob.sha256)
        values = {"workflow_id": workflow_id, "include_deleted": False} | vars(stored)
        if not self._asked("create_definition", values):
            raise WorkflowNotVisible

    @cached_property
    def _blobs(self) -> BlobStore:
        return BlobStore.of(self._settings)


class ScreenshotRepository(SoftDeletingRepository):
    """Screenshots of a tenant, the newest first, which may show health data; a deleted job's are deleted."""

    _table = "execution_screenshots"
    _visible = "visible_of_jobs"

    def find_by_organization(
        self, *, after: Place | None = None, rows: int = _ROWS, include_deleted: bool = False
    ) -> tuple[Screenshot, ...]:
        """All of the tenant's, `rows` at most, going on `after` one. Raises `AccessNotLogged`."""
        return self._page("true", None, after, rows, include_deleted)

    def find_by_job(
        self, job_id: UUID, *, after: Place | None = None, rows: int = _ROWS, include_deleted: bool = False
    ) -> tuple[Screenshot, ...]:
        """Those of one job likewise. Raises `AccessNotLogged`."""
        return self._page("job_id = %(job_id)s", job_id, after, rows, include_deleted)

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
        values = {"screenshot_id": uuid4(), "job_id": job_id, "screenshot_type": screenshot_type.value}
        image = {"image_reference": image_reference, "image_size_bytes": image_size_bytes}
        image |= {"image_sha256": image_sha256, "captured_at": captured_at, "step_name": step_name}
        for screenshot in self._records("create_screenshot", Screenshot, values | image):
            return screenshot
        raise JobNotVisible

    def _page(
        self, of_job: str, job_id: UUID | None, after: Place | None, rows: int, include_deleted: bool
    ) -> tuple[Screenshot, ...]:
        self._accesses.record("execution_screenshots", job_id=job_id)
        captured_at, screenshot_id = after or (None, None)
        asked: dict[str, object] = {"after_captured_at": captured_at, "after_id": screenshot_id}
        asked |= {"job_id": job_id, "rows": rows, "include_deleted": include_deleted}
        return tuple(self._records("find_page", Screenshot, asked, of_job))


class RagRulesRepository(SoftDeletingRepository):
    """Payers and rules by the job that has them, which may be health data; a deleted job's are deleted."""

    _table = "execution_rag_rules"
    _key = "job_id"
    _visible = "visible_of_jobs"

    def find_by_job(self, job_id: UUID, *, include_deleted: bool = False) -> RagRules | None:
        """Those of one job, once the access is logged. Raises `AccessNotLogged`."""
        self._accesses.record("execution_rag_rules", job_id=job_id)
        return self._find(RagRules, job_id, include_deleted)

    def create(self, job_id: UUID, *, payers: Any, rules: Any) -> None:
        """Those of a job, as JSON or models. Raises `RagRulesMalformed`, `JsonTooLarge`, `JobNotVisible`."""
        checked = self._checked("payers", _PAYERS, payers), self._checked("rules", _RULES, rules)
        values = {"job_id": job_id, "payers": checked[0], "rules": checked[1]}
        if not self._asked("create_rag_rules", values):
            raise JobNotVisible

    def _checked(self, column: str, shape: TypeAdapter[Any], value: Any) -> str | None:
        try:
            found = shape.dump_python(shape.validate_python(value))
        except ValidationError as invalid:
            # Not its own words, which hold the value.
            wrong = invalid.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, (column, *wrong["loc"])))
            raise RagRulesMalformed(f"({place}: {wrong['msg']})") from None
        return checked_json(found, f"execution_rag_rules.{column}", self._settings)

"""Jobs, workflows, screenshots and retrieved rules of one tenant: records, and the repositories of these."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Final
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.errors import BlobDamaged, JobNotVisible, RagRulesMalformed, WorkflowNotVisible
from pipelines.executions.blobs import Blob, BlobStore
from pipelines.executions.json_limits import checked_json, json_size, json_text
from pipelines.executions.transactions import Row, TenantRepository
from pipelines.subjects.jobs import Status

# So many pictures fit a page.
_ROWS: Final = 100

# When the last picture of a page was taken, and its id.
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


class JobRepository(TenantRepository):
    """Jobs in the transaction of a unit of work; deleted ones are not there unless they are asked for."""

    def find_by_id(self, job_id: UUID, *, include_deleted: bool = False) -> Job | None:
        """One job, without what it returned."""
        for row in self._rows("executions/find_job", job_id=job_id, include_deleted=include_deleted):
            return _job(row)
        return None

    def find_result(self, job_id: UUID, *, include_deleted: bool = False) -> JobResult | None:
        """What it returned, once the access is logged. Raises `AccessNotLogged`."""
        self._accesses.record("jobs.result", job_id=job_id)
        for row in self._rows("executions/find_job_result", job_id=job_id, include_deleted=include_deleted):
            return JobResult(**row)
        return None

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
        (row,) = self._rows(
            "executions/create_job",
            job_id=uuid4(),
            workflow_id=workflow_id,
            client_id=client_id,
            initiator_type=initiator_type,
            status=status.value,
            started_at=started_at,
            completed_at=completed_at,
            result=checked_json(result, "jobs.result", self._settings),
        )
        return _job(row)

    def delete(self, job_id: UUID) -> bool:
        """Soft-delete a job; whether there was one."""
        return bool(self._rows("executions/delete_job", job_id=job_id, include_deleted=False))


class WorkflowRepository(TenantRepository):
    """Workflows in the transaction of a unit of work; deleted ones are there only if they are asked for."""

    def find_by_id(self, workflow_id: UUID, *, include_deleted: bool = False) -> Workflow | None:
        """One workflow, without its definition."""
        for row in self._rows(
            "executions/find_workflow", workflow_id=workflow_id, include_deleted=include_deleted
        ):
            return Workflow(**row)
        return None

    def find_definition(
        self, workflow_id: UUID, *, include_deleted: bool = False
    ) -> WorkflowDefinition | None:
        """What it does, wherever that is stored. Raises `BlobDamaged` and `BlobsNotUsable`."""
        for row in self._rows(
            "executions/find_definition", workflow_id=workflow_id, include_deleted=include_deleted
        ):
            stored = row["definition"] if row["definition_reference"] is None else self._blob_of(row)
            return WorkflowDefinition(workflow_id=row["id"], definition=stored)
        return None

    def create(self, name: str) -> Workflow:
        """A new workflow. Raises `RowRefused`."""
        (row,) = self._rows("executions/create_workflow", workflow_id=uuid4(), name=name)
        return Workflow(**row)

    def create_definition(self, workflow_id: UUID, definition: Any) -> None:
        """What it does from now on; what is too large for the row goes to blob storage, and is there first.

        Raises `JsonNotStorable`, `BlobsNotUsable` and `WorkflowNotVisible`.
        """
        written = None if definition is None else json_text(definition, "workflows.definition")
        blob = self._kept_elsewhere(written) if written else None
        if not self._rows(
            "executions/create_definition",
            workflow_id=workflow_id,
            include_deleted=False,
            definition=None if blob else written,
            definition_reference=blob.reference if blob else None,
            definition_size_bytes=blob.size_bytes if blob else None,
            definition_sha256=blob.sha256 if blob else None,
        ):
            raise WorkflowNotVisible

    def delete(self, workflow_id: UUID) -> bool:
        """Soft-delete a workflow, but not its jobs; whether there was one."""
        return bool(self._rows("executions/delete_workflow", workflow_id=workflow_id, include_deleted=False))

    @cached_property
    def _blobs(self) -> BlobStore:
        return BlobStore.of(self._settings)

    def _kept_elsewhere(self, written: str) -> Blob | None:
        """Where a definition is that is too large for a row."""
        limit = self._settings.json_limit_bytes
        if json_size(written, at_most=limit) <= limit:
            return None
        # Until this transaction has ended nobody sweeps what no committed row names yet.
        self._rows("executions/share_blobs")
        return self._blobs.keep(self._tenant.organization_id, written.encode())

    def _blob_of(self, row: Row) -> Any:
        blob = Blob(row["definition_reference"], row["definition_size_bytes"], row["definition_sha256"])
        try:
            return json.loads(self._blobs.read(blob))
        except BlobDamaged as damaged:
            raise BlobDamaged(f"(the definition of workflow {row['id']})") from damaged


class ScreenshotRepository(TenantRepository):
    """Screenshots in the transaction of a unit of work, the newest first; they may show health data.

    Deleted ones, and those of deleted jobs, are not there unless they are asked for.
    """

    def find_by_organization(
        self, *, after: Place | None = None, rows: int = _ROWS, include_deleted: bool = False
    ) -> tuple[Screenshot, ...]:
        """All of the tenant's, `rows` at most, going on `after` one. Raises `AccessNotLogged`."""
        self._accesses.record("execution_screenshots")
        asked = {"rows": rows, "include_deleted": include_deleted} | _after(after)
        found = self._rows("executions/find_screenshots", **asked)
        return tuple(map(_screenshot, found))

    def find_by_job(
        self, job_id: UUID, *, after: Place | None = None, rows: int = _ROWS, include_deleted: bool = False
    ) -> tuple[Screenshot, ...]:
        """Those of one job likewise. Raises `AccessNotLogged`."""
        self._accesses.record("execution_screenshots", job_id=job_id)
        asked = {"rows": rows, "include_deleted": include_deleted} | _after(after)
        found = self._rows("executions/find_screenshots_by_job", job_id=job_id, **asked)
        return tuple(map(_screenshot, found))

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
            "executions/create_screenshot",
            screenshot_id=uuid4(),
            job_id=job_id,
            step_name=step_name,
            screenshot_type=screenshot_type.value,
            image_reference=image_reference,
            image_size_bytes=image_size_bytes,
            image_sha256=image_sha256,
            captured_at=captured_at,
        ):
            return _screenshot(row)
        raise JobNotVisible

    def delete(self, screenshot_id: UUID) -> bool:
        """Soft-delete one, but not its image; whether there was one."""
        return bool(
            self._rows("executions/delete_screenshot", screenshot_id=screenshot_id, include_deleted=False)
        )


class RagRulesRepository(TenantRepository):
    """Payers and rules in the transaction of a unit of work; what a scenario says may be health data.

    Deleted ones, and those of deleted jobs, are not there unless they are asked for.
    """

    def find_by_job(self, job_id: UUID, *, include_deleted: bool = False) -> RagRules | None:
        """Those of one job, once the access is logged. Raises `AccessNotLogged`."""
        self._accesses.record("execution_rag_rules", job_id=job_id)
        for row in self._rows("executions/find_rag_rules", job_id=job_id, include_deleted=include_deleted):
            payers, rules = _PAYERS.validate_python(row["payers"]), _RULES.validate_python(row["rules"])
            return RagRules(**row | {"payers": tuple(payers), "rules": tuple(rules)})
        return None

    def create(self, job_id: UUID, *, payers: Any, rules: Any) -> None:
        """Those of a job, as JSON or models. Raises `RagRulesMalformed`, `JsonTooLarge`, `JobNotVisible`."""
        if not self._rows(
            "executions/create_rag_rules",
            job_id=job_id,
            payers=self._checked("payers", _PAYERS, payers),
            rules=self._checked("rules", _RULES, rules),
        ):
            raise JobNotVisible

    def delete(self, job_id: UUID) -> bool:
        """Soft-delete those of a job; whether there were any."""
        return bool(self._rows("executions/delete_rag_rules", job_id=job_id, include_deleted=False))

    def _checked(self, column: str, shape: TypeAdapter[Any], value: Any) -> str | None:
        try:
            found = shape.dump_python(shape.validate_python(value))
        except ValidationError as invalid:
            # Not its own words, which hold the value.
            wrong = invalid.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, (column, *wrong["loc"])))
            raise RagRulesMalformed(f"({place}: {wrong['msg']})") from None
        return checked_json(found, f"execution_rag_rules.{column}", self._settings)


def _job(row: Row) -> Job:
    return Job(**row | {"status": Status(row["status"])})


def _screenshot(row: Row) -> Screenshot:
    return Screenshot(**row | {"screenshot_type": ScreenshotType(row["screenshot_type"])})


def _after(place: Place | None) -> dict[str, object]:
    captured_at, screenshot_id = place or (None, None)
    return {"after_captured_at": captured_at, "after_id": screenshot_id}

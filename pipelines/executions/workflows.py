"""The workflows of one tenant, and what they do."""

import json
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

from pipelines.errors import BlobDamaged, WorkflowNotVisible
from pipelines.executions.blobs import Blob, BlobStore
from pipelines.executions.execution_records import Workflow, WorkflowDefinition
from pipelines.executions.json_limits import json_size, json_text
from pipelines.executions.of_tenant import OfTenant
from pipelines.executions.transactions import Row


class WorkflowRepository(OfTenant):
    """Workflows in the transaction of a unit of work; deleted ones are there only if they are asked for."""

    def find_by_id(self, workflow_id: UUID, *, include_deleted: bool = False) -> Workflow | None:
        """One workflow, without its definition."""
        for row in self._rows(
            "workflows/find_by_id", workflow_id=workflow_id, include_deleted=include_deleted
        ):
            return _workflow_of(row)
        return None

    def find_definition(
        self, workflow_id: UUID, *, include_deleted: bool = False
    ) -> WorkflowDefinition | None:
        """What it does, wherever that is stored. Raises `BlobDamaged` and `BlobsNotUsable`."""
        for row in self._rows(
            "workflows/find_definition", workflow_id=workflow_id, include_deleted=include_deleted
        ):
            stored = row["definition"] if row["definition_reference"] is None else self._blob_of(row)
            return WorkflowDefinition(workflow_id=row["id"], definition=stored)
        return None

    def create(self, name: str) -> Workflow:
        """A new workflow. Raises `RowRefused`."""
        (row,) = self._rows("workflows/create", workflow_id=uuid4(), name=name)
        return _workflow_of(row)

    def create_definition(self, workflow_id: UUID, definition: Any) -> None:
        """What it does from now on; what is too large for the row goes to blob storage, and is there first.

        Raises `JsonNotStorable`, `BlobsNotUsable` and `WorkflowNotVisible`.
        """
        written = None if definition is None else json_text(definition, "workflows.definition")
        blob = self._kept_elsewhere(written) if written else None
        if not self._rows(
            "workflows/create_definition",
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
        return bool(self._rows("workflows/delete", workflow_id=workflow_id, include_deleted=False))

    @cached_property
    def _blobs(self) -> BlobStore:
        return BlobStore.of(self._settings)

    def _kept_elsewhere(self, written: str) -> Blob | None:
        """Where a definition is that is too large for a row."""
        limit = self._settings.json_limit_bytes
        if json_size(written, at_most=limit) <= limit:
            return None
        # Until this transaction has ended nobody sweeps what no committed row names yet.
        self._rows("blobs/share")
        return self._blobs.keep(self._tenant.organization_id, written.encode())

    def _blob_of(self, row: Row) -> Any:
        blob = Blob(row["definition_reference"], row["definition_size_bytes"], row["definition_sha256"])
        try:
            return json.loads(self._blobs.read(blob))
        except BlobDamaged as damaged:
            raise BlobDamaged(f"(the definition of workflow {row['id']})") from damaged


def _workflow_of(row: Row) -> Workflow:
    return Workflow(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
    )

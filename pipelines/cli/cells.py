"""How a cell is named and shown."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from pipelines.cli.output import shown
from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT

WORKFLOWS: Final = {ALL_INITIATORS: ALL_WORKFLOWS}
CLIENTS: Final = {ALL_INITIATORS: ALL_CLIENTS, "none": NO_CLIENT}


def workflow(workflow_id: UUID) -> str:
    """A workflow, or the word for all."""
    return _word(workflow_id, WORKFLOWS)


def client(client_id: UUID) -> str:
    """A client, or the word for all or none."""
    return _word(client_id, CLIENTS)


def named(cell: Mapping[str, UUID | str]) -> str:
    """The dimensions of a cell in words, such as `workflow all, client none`."""
    words = {"workflow_id": WORKFLOWS, "client_id": CLIENTS}
    return ", ".join(
        f"{column.removesuffix('_id').removesuffix('_type').removesuffix('_name')} "
        + (_word(value, words[column]) if isinstance(value, UUID) else value)
        for column, value in cell.items()
    )


def step(old: Any, new: Any) -> str:
    """A figure before and after."""
    return f"{shown(old)} \N{RIGHTWARDS ARROW} {shown(new)}"


def _word(value: UUID, words: dict[str, UUID]) -> str:
    return next((word for word, meant in words.items() if meant == value), str(value))

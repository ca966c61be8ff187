"""The columns that a source lacks and can be given, with the statements that give them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.doctor.mapping import Mapped
from pipelines.source import contract_views as sql
from pipelines.source.contract import NEVER_NULL, held_by
from pipelines.source.relations import Column, Holds, Relation

# What the application has to write from now on; nobody can tell it afterwards.
_CAN_BE_ADDED: Final = ("created_at", "started_at", "completed_at", "updated_at")

_DEFAULTS: Final = {"time_zone": "'UTC'", "created_at": "now()", "updated_at": "now()"}

_DECLARED: Final = {Holds.UUID: "uuid", Holds.TEXT: "text", Holds.INSTANT: "timestamptz"}


@dataclass(frozen=True)
class Planned:
    """A column to be, and how it comes about."""

    column: Column
    sql: tuple[str, ...]


def planned_columns(model: Mapped, workflows: Mapped | None) -> Mapping[str, Planned]:
    """The columns that can be added to a table of the application, by the contract's names."""
    planned = {name: _planned_time(name, model) for name in model.missing if name in _CAN_BE_ADDED}
    if "organization_id" in model.missing and model.table == "jobs":
        planned |= _planned_organization(model, workflows)
    return planned


def as_contract_has(relation: Relation, name: str) -> str | None:
    """The statement that adds a column to a table without a view; None when every row must have one."""
    default = _DEFAULTS.get(name, "")
    if name in NEVER_NULL and not default:
        return None
    column = Column(name, _DECLARED[held_by(name)], held_by(name), nullable=not default)
    return sql.add_column(relation, column, default=default)


def _planned_time(name: str, model: Mapped) -> Planned:
    like = next((each for key, each in model.columns.items() if held_by(key) is Holds.INSTANT), None)
    declared = like.declared if like else "timestamp(3) without time zone"
    holds = like.holds if like else Holds.WALL_CLOCK
    column = Column(_spelt(name, model), declared, holds, nullable=name not in NEVER_NULL)
    if column.nullable:
        return Planned(column, (sql.add_column(model.relation, column),))
    # Written out, because CURRENT_TIMESTAMP would be the session's local time in a column without zone.
    now = "now()" if holds is Holds.INSTANT else "(now() AT TIME ZONE 'UTC')"
    return Planned(column, (sql.add_column(model.relation, column, default=now),))


def _planned_organization(model: Mapped, workflows: Mapped | None) -> dict[str, Planned]:
    """The organization of each job, as its workflow has it."""
    key = model.columns.get("workflow_id")
    if workflows is None or key is None or not {"id", "organization_id"} <= workflows.columns.keys():
        return {}
    owner = workflows.columns["organization_id"]
    column = Column(owner.name, owner.declared, owner.holds, nullable=False)
    return {
        "organization_id": Planned(
            column,
            (
                sql.add_column(model.relation, column, filled=True),
                sql.fill_through(model.relation, column, key, workflows.relation, workflows.columns["id"]),
                sql.never_null(model.relation, column),
            ),
        )
    }


def _spelt(name: str, model: Mapped) -> str:
    """The name in the manner of its table: updatedAt, unless other columns have underscores."""
    if any("_" in column for column in model.relation.columns):
        return name
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

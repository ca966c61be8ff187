"""The relations of the contract as a source has them: fit to be read, by row version or only whole."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipelines.errors import SourceUnfit
from pipelines.postgres.schemas import ORCHESTRATION, SOURCE_COLUMNS, STEP_SOURCE_COLUMNS
from pipelines.postgres.statements import statement
from pipelines.source.contract import held_by
from pipelines.source.relations import Holds, Kind

# As PostgreSQL names the types; any type will do where the contract wants text.
DECLARED: Final[Mapping[Holds, str]] = {
    Holds.UUID: "uuid",
    Holds.TEXT: "text",
    Holds.INSTANT: "timestamp with time zone",
}

# What a statement gives.
Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class ContractRelation:
    """A relation of the contract; `read_whole` says why `xmin` does not tell which of its rows changed."""

    name: str
    kind: Kind
    types: Mapping[str, str]
    read_whole: str | None


def find_relations(rows: Callable[[str], Rows]) -> dict[str, ContractRelation]:
    """The relations of the contract by name, as `rows` gives them for the text of a statement."""
    found = {
        row["name"]: ContractRelation(
            row["name"], Kind(row["kind"]), json.loads(row["columns"]), row["read_whole"]
        )
        for row in rows(statement("source/relations"))
    }
    if any(each.kind is Kind.VIEW for each in found.values()):
        for row in rows(statement("source/views")):
            each = found[row["name"]]
            found[each.name] = ContractRelation(each.name, each.kind, each.types, row["read_whole"])
    return found


def reasons_to_read_whole(
    relations: Mapping[str, ContractRelation], rows: Callable[[str], Rows]
) -> dict[str, str]:
    """Why changed rows cannot be told by version, of each relation of which that is so."""
    reasons = {name: relation.read_whole for name, relation in relations.items() if relation.read_whole}
    for name, relation in relations.items():
        if relation.kind is Kind.VIEW and name not in reasons:
            shown = list(rows(versions_statement(name)))
            if shown and shown[0]["impossible"]:
                reasons[name] = "no row of this server can have its xmin"
    return reasons


def versions_statement(relation: str) -> str:
    """The statement that looks at the row versions of a relation of the contract."""
    if relation not in {*SOURCE_COLUMNS, *STEP_SOURCE_COLUMNS}:
        raise LookupError(relation)
    return statement("source/row_versions").replace("{relation}", relation)


def require_fit(relations: Mapping[str, ContractRelation]) -> None:
    """Raise `SourceUnfit`, naming each column whose type is not the contract's."""
    found = [
        f"{ORCHESTRATION}.{table}.{name} is {declared} and has to be {wanted}"
        for table, relation in relations.items()
        for name, declared in relation.types.items()
        if name in SOURCE_COLUMNS.get(table, ()) and (wanted := _wanted(name)) not in (None, declared)
    ]
    if found:
        raise SourceUnfit(f"({'; '.join(found)})")


def _wanted(name: str) -> str | None:
    """The type that a column of the contract has to be of; None for any, which can be written as text."""
    if name == "xmin":
        return "xid"
    return None if name == "tableoid" or held_by(name) is Holds.TEXT else DECLARED[held_by(name)]

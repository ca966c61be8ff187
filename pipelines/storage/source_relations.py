"""The relations of the contract as a source has them: fit to be read, by row version or only whole."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipelines.errors import SourceUnfit
from pipelines.model.relations import Column, Holds, Kind
from pipelines.model.source_contract import ROW_VERSION, held_by
from pipelines.storage.schemas import ORCHESTRATION, SOURCE_COLUMNS, STEP_SOURCE_COLUMNS
from pipelines.storage.statements import statement

_HOLDS: Final[Mapping[str, Holds]] = {
    "uuid": Holds.UUID,
    "text": Holds.TEXT,
    "varchar": Holds.TEXT,
    "bpchar": Holds.TEXT,
    "citext": Holds.TEXT,
    "enum": Holds.ENUM,
    "int2": Holds.INTEGER,
    "int4": Holds.INTEGER,
    "int8": Holds.INTEGER,
    "timestamptz": Holds.INSTANT,
    "timestamp": Holds.WALL_CLOCK,
}


@dataclass(frozen=True)
class ContractRelation:
    """A relation of the contract; `read_whole` says why `xmin` does not tell which of its rows changed."""

    name: str
    kind: Kind
    columns: Mapping[str, Column]
    read_whole: str | None


def held(type_name: str) -> Holds:
    """What a type of this name holds; `enum` for any enum."""
    return _HOLDS.get(type_name, Holds.OTHER)


def holds_otherwise(name: str, column: Column) -> bool:
    """Whether a column that bears a name of the contract holds something else than the contract wants."""
    return name not in ROW_VERSION and held_by(name) not in (Holds.TEXT, column.holds)


def relations_in(rows: Iterable[Mapping[str, Any]]) -> dict[str, ContractRelation]:
    """The relations by name, from the rows of extract/relations.sql."""
    return {
        row["name"]: ContractRelation(
            row["name"],
            Kind(row["kind"]),
            {
                each["name"]: Column(
                    each["name"],
                    each["declared"],
                    held(each["holds"]),
                    nullable=True,
                )
                for each in json.loads(row["columns"])
            },
            row["read_whole"],
        )
        for row in rows
    }


def reasons_to_read_whole(
    relations: Mapping[str, ContractRelation], is_impossible: Callable[[str], bool | None]
) -> dict[str, str]:
    """Why changed rows cannot be told by version, of each relation of which that is so.

    Of a view that could tell, `is_impossible` says whether the versions of its rows are none of this server.
    """
    reasons = {name: relation.read_whole for name, relation in relations.items() if relation.read_whole}
    views = [name for name, each in relations.items() if each.kind is Kind.VIEW and name not in reasons]
    return reasons | dict.fromkeys(filter(is_impossible, views), "no row of this server can have its xmin")


def versions_statement(relation: str) -> str:
    """The statement that looks at the row versions of a relation of the contract."""
    if relation not in {*SOURCE_COLUMNS, *STEP_SOURCE_COLUMNS}:
        raise LookupError(relation)
    return statement("extract/row_versions.sql").replace("{relation}", relation)


def require_fit(relations: Mapping[str, ContractRelation]) -> None:
    """Raise `SourceUnfit`, naming each column whose type is not the contract's."""
    found = [
        f"{ORCHESTRATION}.{table}.{name} is {column.declared} and has to be {wanted}"
        for table, relation in relations.items()
        for name, column in relation.columns.items()
        if name in SOURCE_COLUMNS.get(table, ()) and (wanted := _otherwise(name, column))
    ]
    if found:
        raise SourceUnfit(f"({'; '.join(found)})")


def _otherwise(name: str, column: Column) -> str | None:
    if name == "xmin":
        return None if column.declared == "xid" else "xid"
    return str(held_by(name)) if holds_otherwise(name, column) else None

"""The contract with a source: its relations, what each column holds, and whether a source keeps to it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from pipelines.errors import SourceUnfit
from pipelines.postgres.connections import connect
from pipelines.postgres.schemas import ORCHESTRATION, SOURCE_COLUMNS, STEP_SOURCE_COLUMNS
from pipelines.postgres.statements import statement
from pipelines.settings import Settings


class Holds(StrEnum):
    """What a column can hold, as far as the contract cares."""

    UUID = "uuid"
    TEXT = "text"
    ENUM = "enum"
    INTEGER = "integer"
    INSTANT = "timestamptz"
    WALL_CLOCK = "timestamp"
    OTHER = "other"


class Kind(StrEnum):
    """What a relation is, in PostgreSQL's own letters."""

    TABLE = "r"
    PARTITIONED_TABLE = "p"
    VIEW = "v"
    MATERIALIZED_VIEW = "m"
    FOREIGN_TABLE = "f"


TABLES: Final = (Kind.TABLE, Kind.PARTITIONED_TABLE)


@dataclass(frozen=True)
class Column:
    """A column; `declared` is its type as it is declared, `default` the expression that fills it in."""

    name: str
    declared: str
    holds: Holds
    nullable: bool
    default: str = ""
    labels: tuple[str, ...] = ()
    readable: bool = True


@dataclass(frozen=True)
class Index:
    """An index, and the column that it begins with: None when that is an expression."""

    name: str
    begins_with: str | None
    valid: bool


@dataclass(frozen=True)
class Read:
    """A relation that a view reads, and which columns that it needs the role that reads for it may not."""

    oid: int
    unreadable: frozenset[str]


@dataclass(frozen=True)
class Relation:
    """A table or a view; `usable`: the role may enter its schema at all; `owned`: it has its owner's rights.

    A view that `asks_its_reader` reads with the rights of its reader, others with those of their owner.
    """

    oid: int
    schema: str
    name: str
    kind: Kind
    owner: str
    bytes: int
    usable: bool
    owned: bool
    asks_its_reader: bool
    definition: str
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...]
    reads: tuple[Read, ...]


# What tells which rows changed, and of which table they are; every table has them, a view only by name.
ROW_VERSION: Final = ("xmin", "tableoid")

_IDS: Final = {"id", "organization_id", "workflow_id", "client_id"}
_TIMES: Final = {"created_at", "started_at", "completed_at", "updated_at", "deleted_at"}

# A source without them is complete: nothing is ever deleted, every organization lives in UTC and has no name.
OPTIONAL: Final = {"name", "time_zone", "deleted_at", "client_id", "initiator_type"}

NEVER_NULL: Final = {"id", "organization_id", "workflow_id", "status", "created_at", "updated_at"}

# What a run looks rows up by: changes, ranges of completion, ids, one organization.
LOOKED_UP_BY: Final = ("id", "organization_id", "updated_at", "completed_at")

# A table that is larger than this takes longer to look through than to search by its index.
LARGE_TABLE_BYTES: Final = 2 * 1024**3

# And this where the table is so large that the nightly checksum comparison reads a small part of it.
LOOKED_UP_BY_WHEN_LARGE: Final = (*LOOKED_UP_BY, "created_at")


def held_by(column: str) -> Holds:
    """What the contract wants a column to hold."""
    if column in _IDS:
        return Holds.UUID
    return Holds.INSTANT if column in _TIMES else Holds.TEXT


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


@contextmanager
def open_catalog(url: str, settings: Settings) -> Iterator[psycopg.Connection]:
    """Open a read-only transaction in the time zone of the server, to ask the catalog of a source."""
    with connect(url, settings, in_utc=False) as connection:
        connection.read_only = True
        milliseconds = int(settings.statement_timeout.total_seconds() * 1000)
        connection.execute(f"SET LOCAL statement_timeout = {milliseconds:d}")
        yield connection


def read_whole(connection: psycopg.Connection) -> dict[str, str]:
    """The relations of the contract that each refresh reads whole, and why; as far as the role may look."""

    def rows(text: str) -> list[dict[str, Any]]:
        with connection.cursor(row_factory=dict_row) as cursor:
            try:
                with connection.transaction(force_rollback=True):
                    return cursor.execute(text).fetchall()
            except psycopg.DatabaseError:
                if connection.broken:
                    raise
                return []

    return reasons_to_read_whole(find_relations(rows), rows)

"""What a source is made of, as its catalog describes it: relations and their columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


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


TABLES = (Kind.TABLE, Kind.PARTITIONED_TABLE)


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

    A view that `asks_its_reader` reads with the rights of whoever reads it, others with their owner's.
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

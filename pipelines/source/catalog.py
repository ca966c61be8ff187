"""What the catalog of a source says of its tables, read with the rights that anybody has."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from pipelines.errors import NoSuchRole
from pipelines.postgres.connections import connect
from pipelines.postgres.schemas import ORCHESTRATION
from pipelines.postgres.statements import statement
from pipelines.settings import Settings
from pipelines.source.contract import held_by
from pipelines.source.fitness import find_relations, reasons_to_read_whole
from pipelines.source.relations import Column, Holds, Index, Kind, Read, Relation

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

# What a lookup compares with; of either the planner knows only that there is a value.
_SOUGHT: Final = {Holds.UUID: SQL("= md5(now()::text)::uuid"), Holds.INSTANT: SQL(">= now()")}

# Of what is left, only the scan of a bitmap needs something to look up: others read an index whole.
_ONLY_BITMAPS: Final = ("enable_seqscan", "enable_indexscan", "enable_indexonlyscan")


@dataclass(frozen=True)
class Role:
    """Whose rights are looked at, in which database; `in_utc`: so are its sessions."""

    name: str
    database: str
    in_utc: bool


@dataclass(frozen=True)
class HidingPolicies:
    """Policies that may hide rows of a relation from a reader; `restricted`: no further policy shows them."""

    relation: int
    reader: str
    restricted: bool


class SourceCatalog:
    """One read-only transaction on the source's catalog."""

    def __init__(self, connection: psycopg.Connection, role: str | None) -> None:
        self._connection = connection
        row = self._rows("doctor/role", role=role)[0]
        if not row["present"]:
            raise NoSuchRole(f"({row['role']})")
        self._by_oid: dict[int, Relation] = {}
        self.role = Role(row["role"], row["database"], row["in_utc"])

    def relations(self, schema: str) -> list[Relation]:
        """The tables and views of a schema and of the contract's, and what the contract's views read."""
        found = self._rows(
            "doctor/relations",
            role=self.role.name,
            schemas=[schema, ORCHESTRATION],
            contract=ORCHESTRATION,
        )
        oids = [row["oid"] for row in found]
        columns, indexes, reads = self._columns(oids), self._indexes(oids), self._reads(found)
        relations = [
            Relation(
                **row | {"kind": Kind(row["kind"])},
                columns=columns.get(row["oid"], {}),
                indexes=tuple(indexes.get(row["oid"], ())),
                reads=tuple(reads.get(row["oid"], ())),
            )
            for row in found
        ]
        self._by_oid |= {relation.oid: relation for relation in relations}
        return relations

    def relation(self, oid: int) -> Relation:
        """One of the relations that were found."""
        return self._by_oid[oid]

    def hiding_policies(self, readers: Sequence[tuple[int, str]]) -> list[HidingPolicies]:
        """Which of these relations may hide rows from the role beside it."""
        rows = self._rows(
            "doctor/hidden_rows",
            relations=[relation for relation, _ in readers],
            readers=[reader for _, reader in readers],
        )
        return [HidingPolicies(**row) for row in rows]

    def read_whole(self) -> Mapping[str, str]:
        """The relations of the contract that each refresh reads whole, and why."""
        return reasons_to_read_whole(find_relations(self._shown), self._shown)

    def missing_functions(self) -> Mapping[str, bool]:
        """The functions that a refresh calls and the role may not, and whether the server has them."""
        rows = self._rows("doctor/functions", role=self.role.name)
        return {row["signature"]: row["present"] for row in rows}

    def _shown(self, text: str) -> list[dict[str, Any]]:
        """The rows of a statement; none where the role may not read what it asks."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            try:
                with self._connection.transaction(force_rollback=True):
                    return cursor.execute(text).fetchall()
            except psycopg.DatabaseError:
                if self._connection.broken:
                    raise
                return []

    def finds_by_index(self, column: str) -> bool | None:
        """Whether an index serves to look up jobs of the contract by this column, as the planner says.

        None when it does not say.
        """
        asked = SQL(statement("doctor/plan_of_lookup")).format(
            column=Identifier(column), sought=_SOUGHT[held_by(column)]
        )
        rows = self._answered(asked, without=_ONLY_BITMAPS)
        if rows is None:
            return None
        scans = {node.get("Node Type") for node in _nodes(rows[0][0])}
        return "Bitmap Index Scan" in scans and not scans & {"Seq Scan", "Index Scan", "Index Only Scan"}

    def unknown_statuses(
        self, relation: Relation, status: Column, known: Sequence[str]
    ) -> Mapping[str, int] | None:
        """How many jobs have each status that is not known; None when that cannot be found out."""
        asked = SQL(statement("doctor/unknown_statuses")).format(
            jobs=Identifier(relation.schema, relation.name),
            status=Identifier(status.name),
            known=Literal(list(known)),
        )
        rows = self._answered(asked)
        return None if rows is None else dict(rows)

    def _answered(self, asked: SQL | Composed, *, without: Sequence[str] = ()) -> list[Any] | None:
        """The rows of a statement on the source's own tables; None when they refuse or take too long.

        A policy or a view does whatever its author wrote, such as to fail; the rest can be told all the same.
        """
        try:
            with self._connection.transaction(force_rollback=True):
                for way in without:
                    self._connection.execute(f"SET LOCAL {way} = off")
                return self._connection.execute(asked).fetchall()
        except psycopg.DatabaseError:
            if self._connection.broken:
                raise
            return None

    def _columns(self, oids: Sequence[int]) -> Mapping[int, Mapping[str, Column]]:
        columns: dict[int, dict[str, Column]] = defaultdict(dict)
        for row in self._rows("doctor/columns", role=self.role.name, relations=oids):
            columns[row["relation"]][row["name"]] = Column(
                name=row["name"],
                declared=row["declared"],
                holds=_HOLDS.get(row["holds"], Holds.OTHER),
                nullable=row["nullable"],
                default=row["default_text"],
                labels=tuple(row["labels"]),
                readable=row["readable"],
            )
        return columns

    def _indexes(self, oids: Sequence[int]) -> Mapping[int, list[Index]]:
        indexes: dict[int, list[Index]] = defaultdict(list)
        for row in self._rows("doctor/indexes", relations=oids):
            indexes[row.pop("relation")].append(Index(**row))
        return indexes

    def _reads(self, relations: Sequence[Mapping[str, Any]]) -> Mapping[int, list[Read]]:
        known = {row["oid"] for row in relations}
        views = [row for row in relations if row["definition"]]
        columns: dict[tuple[int, int], dict[str, bool]] = defaultdict(dict)
        for row in self._rows(
            "doctor/view_reads",
            role=self.role.name,
            views=[view["oid"] for view in views],
            asking=[view["asks_its_reader"] for view in views],
        ):
            if row["relation"] in known:
                columns[row["view"], row["relation"]][row["column_name"]] = row["readable"]
        reads: dict[int, list[Read]] = defaultdict(list)
        for (view, relation), readable in columns.items():
            unreadable = frozenset(name for name, may in readable.items() if not may)
            reads[view].append(Read(relation, unreadable))
        return reads

    def _rows(self, path: str, **values: Any) -> list[dict[str, Any]]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement(path), values).fetchall()


@contextmanager
def open_catalog(url: str, settings: Settings, *, role: str | None) -> Iterator[SourceCatalog]:
    """Open a read-only transaction. Raises `NoSuchRole` and what `connect` does."""
    with connect(url, settings, in_utc=False) as connection:
        connection.read_only = True
        milliseconds = int(settings.statement_timeout.total_seconds() * 1000)
        connection.execute(f"SET LOCAL statement_timeout = {milliseconds:d}")
        yield SourceCatalog(connection, role)


def _nodes(plan: Any) -> Iterator[Mapping[str, Any]]:
    """Every node of a plan, whatever it hangs below."""
    if isinstance(plan, list):
        for each in plan:
            yield from _nodes(each)
    elif isinstance(plan, dict):
        yield plan
        for each in plan.values():
            yield from _nodes(each)

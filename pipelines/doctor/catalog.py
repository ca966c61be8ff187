"""What the catalog of a source says of its tables, read with the rights that anybody has."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composable, Identifier, Literal
from pydantic import TypeAdapter

from pipelines.errors import UsageError
from pipelines.postgres.schemas import ORCHESTRATION
from pipelines.postgres.statements import statement
from pipelines.source.contract import Column, Holds, Relation, held_by

# What a lookup compares with; of either the planner knows only that there is a value.
_SOUGHT: Final = {Holds.UUID: SQL("= md5(now()::text)::uuid"), Holds.INSTANT: SQL(">= now()")}

# Of what is left, only the scan of a bitmap needs something to look up: others read an index whole.
_ONLY_BITMAPS: Final = ("enable_seqscan", "enable_indexscan", "enable_indexonlyscan")

_RELATION: Final = TypeAdapter(Relation)


class SourceCatalog:
    """The source's catalog in a read-only transaction, for a `role` whose rights are looked at.

    `by_oid` has the relations that were found. Raises `UsageError` when there is no such role.
    """

    def __init__(self, connection: psycopg.Connection, role: str | None) -> None:
        self.connection = connection
        (row,) = self._rows("role", role=role)
        if not row["present"]:
            raise UsageError(f"The source has no such role, {row['role']!r}; name another with --role.")
        self.role: str = row["role"]
        self.database: str = row["database"]
        self.in_utc: bool = row["in_utc"]
        self.by_oid: dict[int, Relation] = {}

    def relations(self, schema: str) -> list[Relation]:
        """The tables and views of a schema and of the contract's, and what the contract's views read."""
        schemas = [schema, ORCHESTRATION]
        for row in self._rows("relations", role=self.role, schemas=schemas, contract=ORCHESTRATION):
            self.by_oid[row["oid"]] = _RELATION.validate_python(row)
        return list(self.by_oid.values())

    def hiding_policies(self, readers: Sequence[tuple[int, str]]) -> Iterator[tuple[Relation, str, bool]]:
        """Yield the relations that may hide rows from the role beside them.

        The third value is true when no further policy would show these rows.
        """
        relations, roles = [oid for oid, _ in readers], [reader for _, reader in readers]
        for row in self._rows("hidden_rows", relations=relations, readers=roles):
            yield self.by_oid[row["relation"]], row["reader"], row["restricted"]

    def missing_functions(self) -> Mapping[str, bool]:
        """The functions that a refresh calls and the role may not, and whether the server has them."""
        return {row["signature"]: row["present"] for row in self._rows("functions", role=self.role)}

    def finds_by_index(self, column: str) -> bool | None:
        """Whether an index serves to look up jobs of the contract by this column, as the planner says.

        None when it does not say.
        """
        lookup = {"column": Identifier(column), "sought": _SOUGHT[held_by(column)]}
        rows = self._attempted("plan_of_lookup", lookup, without=_ONLY_BITMAPS)
        if rows is None:
            return None
        scans = set(re.findall('"Node Type": "([^"]+)"', json.dumps(rows[0][0])))
        return "Bitmap Index Scan" in scans and not scans & {"Seq Scan", "Index Scan", "Index Only Scan"}

    def unknown_statuses(
        self, relation: Relation, status: Column, known: Sequence[str]
    ) -> Mapping[str, int] | None:
        """How many jobs have each status that is not known; None when that cannot be found out."""
        jobs = Identifier(relation.schema, relation.name)
        places = {"jobs": jobs, "status": Identifier(status.name), "known": Literal(list(known))}
        rows = self._attempted("unknown_statuses", places)
        return None if rows is None else dict(rows)

    def _attempted(
        self, name: str, places: Mapping[str, Composable], *, without: Sequence[str] = ()
    ) -> list[Any] | None:
        """The rows of a statement on the source's own tables; None when they refuse or take too long.

        A policy or a view does whatever its author wrote, such as to fail; the other findings stay.
        """
        try:
            with self.connection.transaction(force_rollback=True):
                for way in without:
                    self.connection.execute(f"SET LOCAL {way} = off")
                return self.connection.execute(SQL(statement(f"doctor/{name}")).format(**places)).fetchall()
        except psycopg.DatabaseError:
            if self.connection.broken:
                raise
            return None

    def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement(f"doctor/{name}"), values).fetchall()

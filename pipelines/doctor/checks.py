"""Looking at a source as its role sees it: what a refresh would stumble over, and the SQL that mends it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.sql import SQL, Identifier

from pipelines.doctor import views
from pipelines.doctor.catalog import SourceCatalog
from pipelines.doctor.matching import (
    Examined,
    Said,
    as_contract_has,
    contract_columns,
    differs,
    examined,
)
from pipelines.doctor.views import quoted, write
from pipelines.errors import InvalidMapping
from pipelines.postgres.connections import Run
from pipelines.postgres.schemas import ORCHESTRATION, SOURCE_COLUMNS
from pipelines.source import contract
from pipelines.source.contract import Column, Holds, Kind, Relation, held_by
from pipelines.subjects.jobs import Status

# What can be found and why it matters, in the order in which it is mended: tables, views, rights, speed.
_WHY: Final = {
    "missing_table": "A refresh reads all four tables of the contract.",
    "ambiguous_table": "Several tables could be meant, and the figures depend on which.",
    "ambiguous_column": "Several columns could be meant, and the figures depend on which.",
    "unusable_type": "What the contract wants cannot be told from a column of this type.",
    "missing_column": "Figures cannot be told without it.",
    "nullable_column": "A row without it could be counted nowhere, nor found by an index.",
    "no_contract_view": "A refresh reads the schema orchestration, which needs a view.",
    "zoneless_times": "Sessions read a time without zone differently; Prisma stores UTC.",
    "ids_are_not_uuids": "A text that is a UUID has to be cast, any other id hashed.",
    "no_row_version": "Changed rows are found by the transaction that wrote them.",
    "unknown_status": "Jobs of an unknown status are listed and counted nowhere.",
    "column_left_out": "The table has the column by now, and the view does not read it.",
    "view_asks_its_reader": "Its reader would need rights on the payload's table.",
    "hidden_rows": "Rows that row-level security hides are missing from every figure.",
    "missing_privilege": "The role may not read what a refresh reads.",
    "missing_function": "A refresh calls it.",
    "read_whole": "Nothing tells which of its rows changed, so every refresh reads all of them.",
    "missing_index": "Without it, looking up a few jobs reads the whole table.",
    "sessions_not_in_utc": "A default of the session's local time would be read as UTC.",
}

# A refresh runs and is right without, as far as anybody can tell.
_ADVICE: Final = {"read_whole", "unknown_status", "column_left_out", "missing_index", "sessions_not_in_utc"}


@dataclass(frozen=True)
class Finding:
    """Something to mend, where it is, and the statements that mend it; `remedy` where SQL alone cannot."""

    what: str
    where: str
    sql: tuple[str, ...] = ()
    remedy: str = ""
    detail: str = ""

    @property
    def why(self) -> str:
        """Why it matters."""
        return f"{_WHY[self.what]} {self.detail}".strip()

    @property
    def blocking(self) -> bool:
        """Whether a refresh would fail, or be wrong, as long as it is so."""
        return self.what not in _ADVICE


@dataclass(frozen=True)
class TableFound:
    """Where a table of the contract is read from, None when nowhere, and what stands for its columns."""

    table: str
    read_from: str | None
    through_view: bool
    columns: Mapping[str, str | None]


@dataclass(frozen=True)
class Diagnosis:
    """What was found for a role in a database: its tables, and what to mend, in the order to mend it."""

    role: str
    database: str
    tables: tuple[TableFound, ...]
    findings: tuple[Finding, ...]

    @property
    def blocking(self) -> int:
        """How many findings a refresh would fail over, or be wrong."""
        return sum(finding.blocking for finding in self.findings)

    @property
    def script(self) -> tuple[str, ...]:
        """The statements that mend all of it, each once, in the order to run them."""
        statements = dict.fromkeys(statement for finding in self.findings for statement in finding.sql)
        # What new indexes are good for is known when all are there.
        return tuple(sorted(statements, key=lambda statement: statement.startswith("ANALYZE ")))


def examine(run: Run, said: Said, *, role: str | None = None) -> Diagnosis:
    """Look at the source's catalog; of its rows, at nothing but the statuses that the contract does not know.

    Raises `InvalidMapping`, `UsageError` and `DatabaseUnreachable`.
    """
    with contract.open_catalog(run.databases.source_url, run.settings) as connection:
        catalog = SourceCatalog(connection, role)
        relations = catalog.relations(said.schema)
        if said.schema != Said().schema and not any(each.schema == said.schema for each in relations):
            raise InvalidMapping(f"The source has no table in a schema {said.schema!r}.")
        by_name: dict[str, Examined] = {}
        for table in SOURCE_COLUMNS:
            by_name[table] = examined(table, relations, said, catalog.role, by_name.get("workflows"))
        tables = list(by_name.values())
        findings = [finding for table in tables for finding in _findings_of(table, catalog)]
        findings += _findings_of_all(tables, catalog)
        findings.sort(key=lambda finding: list(_WHY).index(finding.what))
        return Diagnosis(catalog.role, catalog.database, tuple(map(_found, tables)), tuple(findings))


def _found(table: Examined) -> TableFound:
    relation = table.model or table.actual
    own = table.own if table.model else table.actual.columns if table.actual else {}
    columns = {name: own[name].name if name in own else None for name in contract_columns(table.table)}
    read_from = quoted(relation.schema, relation.name) if relation else None
    return TableFound(table.table, read_from, bool(relation and relation is not table.actual), columns)


def _findings_of_all(tables: Sequence[Examined], catalog: SourceCatalog) -> Iterator[Finding]:
    readers = dict.fromkeys(reader for table in tables for reader in table.readers())
    for relation, reader, restricted in catalog.hiding_policies(list(readers)):
        shown = views.show_every_row(relation, reader, restricted=restricted)
        where = quoted(relation.schema, relation.name)
        yield Finding("hidden_rows", where, (shown,), detail=f"It is read as {reader}.")
    for signature, present in catalog.missing_functions().items():
        granted = (write(f"GRANT EXECUTE ON FUNCTION {signature} TO {{}};", catalog.role),) if present else ()
        remedy = "" if present else "PostgreSQL 15 or newer has it."
        yield Finding("missing_function", signature, granted, remedy, f"It is {catalog.role}.")
    for name, reason in contract.read_whole(catalog.connection).items():
        remedy = "A view of one table that shows its xmin is read faster."
        yield Finding("read_whole", quoted(ORCHESTRATION, name), remedy=remedy, detail=f"Why: {reason}.")
    unreadable = ", ".join(name for table in tables for name in table.unreadable())
    if unreadable:
        sql = tuple(views.grant_reading(catalog.role, (each.table for each in tables if each.can_be_granted)))
        yield Finding("missing_privilege", unreadable, sql, detail=f"It is {catalog.role}.")
    clocks = ", ".join(clock for table in tables for clock in table.local_clocks())
    if clocks and not catalog.in_utc:
        sql = (write("ALTER DATABASE {} SET timezone TO 'UTC';", catalog.database),)
        yield Finding("sessions_not_in_utc", clocks, sql)


def _findings_of(table: Examined, catalog: SourceCatalog) -> Iterator[Finding]:
    """Yield what is wrong with a table of the contract, its view and what the view reads."""
    if table.actual is None:
        yield from _missing_relation(table)
    else:
        yield from _differences_of(table, table.actual)
        if table.in_the_way:
            return
        yield from _rights_of_the_view(table, table.actual, catalog)
        own = () if table.is_table else table.own.items()
        left_out = [column.name for name, column in own if views.leaves_out(table.actual.definition, name)]
        if left_out:
            yield Finding("column_left_out", ", ".join(map(table.of_model, left_out)), table.view)
    yield from _nullable_columns(table)
    if table.table == "jobs":
        yield from _unknown_statuses(table, catalog)
        yield from _missing_indexes(table, catalog)


def _missing_relation(table: Examined) -> Iterator[Finding]:
    if len(table.candidates) > 1:
        names = [each.name for each in table.candidates]
        where = ", ".join(quoted(table.said.schema, name) for name in names)
        yield Finding("ambiguous_table", where, remedy=f"Say which one: --table {table.table}={names[0]}")
    elif not table.candidates:
        remedy = f"Say what it is called, --table {table.table}=NAME, or where it is, --schema NAME."
        yield Finding("missing_table", f"{table.table} in {quoted(table.said.schema)}", remedy=remedy)
    else:
        yield from _columns_of_the_model(table)
        remedy = "" if table.view else "The other findings come first; then look again."
        yield Finding("no_contract_view", table.name, table.view, remedy)
        for what, names in _otherwise(table.columns).items():
            if what != "unusable_type":
                where = ", ".join(table.of_model(table.columns[name].name) for name in names)
                yield Finding(what, where, table.view)


def _columns_of_the_model(table: Examined) -> Iterator[Finding]:
    """What keeps a view from being made of a table."""
    for name, several in table.ambiguous.items():
        remedy = f"Say which one: --column {table.table}.{name}={several[0]}"
        yield Finding("ambiguous_column", ", ".join(map(table.of_model, several)), remedy=remedy)
    for name in table.unusable:
        column = table.columns[name]
        where = f"{table.of_model(column.name)} ({column.declared})"
        remedy = f"Name another column: --column {table.table}.{name}=NAME"
        yield Finding("unusable_type", where, remedy=remedy)
    for name in table.missing:
        planned = table.planned.get(name)
        remedy = f"If it is called otherwise, say so: --column {table.table}.{name}=NAME"
        if planned:
            remedy = f"Have the application write it, too, with every row it changes. {remedy}"
        where = table.of_model(planned.column.name if planned else name)
        yield Finding("missing_column", where, planned.sql if planned else (), remedy)


def _otherwise(columns: Mapping[str, Column]) -> Mapping[str, list[str]]:
    """The contract's names of the columns that hold something else than the contract, by what is wrong."""
    found: dict[str, list[str]] = {}
    for name in filter(lambda name: differs(name, columns[name]), columns):
        zoneless = columns[name].holds is Holds.WALL_CLOCK
        what = "zoneless_times" if zoneless else "unusable_type"
        found.setdefault("ids_are_not_uuids" if held_by(name) is Holds.UUID else what, []).append(name)
    return found


def _differences_of(table: Examined, actual: Relation) -> Iterator[Finding]:
    """What a relation of the contract's name has otherwise than the contract."""
    sql, remedy = table.view, ""
    if table.in_the_way:
        # It bears the contract's name by chance.
        sql = (write("ALTER TABLE {} SET SCHEMA {};", actual, Said().schema),)
        remedy = "Tell the application where its table is then, and look again: a view takes its place."
    elif not sql:
        remedy = f"Say what the view is to read: --table {table.table}=NAME"
    if actual.kind is Kind.VIEW and not actual.columns.keys() >= set(contract.ROW_VERSION):
        versions = [name for name in contract.ROW_VERSION if name not in actual.columns]
        yield Finding("no_row_version", _of_contract(table, versions), sql, remedy)
    wanted = contract_columns(table.table)
    missing = [name for name in wanted if name not in actual.columns]
    if missing:
        added = tuple(filter(None, (as_contract_has(actual, name) for name in missing)))
        mended = (added,) if table.is_table and not table.in_the_way else (sql, remedy)
        yield Finding("missing_column", _of_contract(table, missing), *mended)
    present = {name: actual.columns[name] for name in wanted if name not in missing}
    for what, names in _otherwise(present).items():
        yield Finding(what, _of_contract(table, names), sql, remedy)


def _rights_of_the_view(table: Examined, actual: Relation, catalog: SourceCatalog) -> Iterator[Finding]:
    for read in actual.reads:
        if read.unreadable and actual.asks_its_reader:
            reset = write("ALTER VIEW {} RESET (security_invoker);", actual)
            yield Finding("view_asks_its_reader", table.name, (reset,))
        elif read.unreadable:
            relation = catalog.by_oid[read.oid]
            columns = SQL(", ").join(map(Identifier, sorted(read.unreadable)))
            granted = write("GRANT SELECT ({}) ON {} TO {};", columns, relation, actual.owner)
            where = quoted(relation.schema, relation.name)
            detail = f"It is {actual.owner}, who owns the view {table.name}."
            yield Finding("missing_privilege", where, (granted,), detail=detail)


def _nullable_columns(table: Examined) -> Iterator[Finding]:
    created = table.own.get("created_at")
    for name, column in table.own.items():
        if table.model is None or name not in contract.NEVER_NULL or not column.nullable:
            continue
        sql = views.never_null(table.model, column)
        where = table.of_model(column.name)
        if name == "updated_at" and created:
            names = column.name, created.name, column.name
            filled = write("UPDATE {} SET {} = {} WHERE {} IS NULL;", table.model, *names)
            yield Finding("nullable_column", where, (filled, sql))
        else:
            remedy = "It is refused while any row has none; such rows have to be mended first."
            yield Finding("nullable_column", where, (sql,), remedy)


def _missing_indexes(table: Examined, catalog: SourceCatalog) -> Iterator[Finding]:
    model = table.model
    if model is None:
        return
    large = model.bytes >= contract.LARGE_TABLE_BYTES
    for name in contract.LOOKED_UP_BY_WHEN_LARGE if large else contract.LOOKED_UP_BY:
        column = table.columns.get(name)
        if column is None or name in table.unusable or _served(table, model, name, column, catalog):
            continue
        made = tuple(views.create_index(model, name, column))
        yield Finding("missing_index", table.of_model(column.name), made)


def _served(table: Examined, relation: Relation, name: str, column: Column, catalog: SourceCatalog) -> bool:
    """Whether an index serves a lookup, as the planner says; as the catalog does before there is a view."""
    actual = table.actual
    if actual and name in actual.columns and not differs(name, actual.columns[name]):
        # A role that may not read the column cannot ask, and that is found first.
        can_be_asked = actual.usable and actual.columns[name].readable
        made_of_it = name not in table.planned
        return not (can_be_asked and made_of_it) or catalog.finds_by_index(name) is not False
    if column.holds is held_by(name):
        return any(index.valid and index.begins_with == column.name for index in relation.indexes)
    ours = views.index_name(relation, column)
    return any(index.valid and index.name == ours for index in relation.indexes)


def _unknown_statuses(table: Examined, catalog: SourceCatalog) -> Iterator[Finding]:
    """Yield what the view does not translate: labels by name, of words in rows how many there are."""
    relation = table.actual or table.model
    column = (table.actual.columns if table.actual else table.columns).get("status")
    if relation is None or column is None:
        return
    translated = views.words_translated(table.actual.definition) if table.actual else {}
    # The view says what a label means: what somebody said, or whatever it is.
    untranslated = {
        label: meant
        for label, meant in table.statuses.items()
        if label not in translated or table.said.statuses.get(label, translated[label]) != translated[label]
    }
    if table.labels and not untranslated:
        return
    readable = relation.usable and column.readable
    # None where the role may not look, or looking takes too long.
    present = catalog.unknown_statuses(relation, column, list(map(str, Status))) if readable else None
    if table.labels:
        meanings = (
            f"{label} {'stays unknown' if meant == label else f'is taken for {meant}'}"
            + ("" if present is None else f", {present.get(label, 0):,} jobs have it")
            for label, meant in untranslated.items()
        )
        remedy = f"If that is wrong, say so: --status {next(iter(untranslated))}=STATUS"
        detail = f"{'; '.join(meanings)}."
    elif present or untranslated:
        detail = f"{len(present or {}):,} such words are in {sum((present or {}).values()):,} jobs."
        remedy = "Say what each means: --status WORD=STATUS"
    else:
        return
    where = quoted(relation.schema, relation.name, column.name)
    sql = table.view if untranslated else ()
    yield Finding("unknown_status", where, sql, "" if table.is_table else remedy, detail)


def _of_contract(table: Examined, names: Sequence[str]) -> str:
    return ", ".join(f"{table.name}.{quoted(name)}" for name in names) or table.name

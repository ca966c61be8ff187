"""What can be found wrong with one table of the contract."""

from collections.abc import Iterator, Sequence
from typing import Final

from pipelines.doctor.findings import Finding, What
from pipelines.doctor.mapping import contract_columns
from pipelines.doctor.planned import as_contract_has
from pipelines.doctor.statuses import unknown_statuses
from pipelines.doctor.table import Examined, differing, differs
from pipelines.postgres.schemas import SOURCE_COLUMNS
from pipelines.source import contract_views as sql
from pipelines.source.catalog import SourceCatalog
from pipelines.source.contract import (
    LOOKED_UP_BY,
    LOOKED_UP_BY_WHEN_LARGE,
    NEVER_NULL,
    ROW_VERSION,
    held_by,
)
from pipelines.source.contract_views import quoted
from pipelines.source.relations import Column, Holds, Kind, Relation

# From there on the tier that reads by index is chosen, too.
_LARGE_TABLE_BYTES: Final = 2 * 1024**3

_SCHEMA_OF_PRISMA: Final = "public"


def findings_of(table: Examined, catalog: SourceCatalog) -> Iterator[Finding]:
    """Yield what is wrong with a table of the contract, its view and what the view reads."""
    if table.there is None:
        yield from _nothing_there(table)
    else:
        if table.in_the_way:
            yield from _made_room(table, table.there)
            return
        yield from _columns_there(table, table.there)
        yield from _rights_of_the_view(table, table.there, catalog)
        yield from _columns_left_out(table, table.there)
    yield from _nullable_columns(table)
    if table.table == "jobs":
        yield from unknown_statuses(table, catalog)
        yield from _missing_indexes(table, catalog)


def _nothing_there(table: Examined) -> Iterator[Finding]:
    if len(table.candidates) > 1:
        names = [each.name for each in table.candidates]
        yield Finding(
            What.AMBIGUOUS_TABLE,
            ", ".join(quoted(table.said.schema, name) for name in names),
            remedy=f"Say which one: --table {table.table}={names[0]}",
        )
    elif not table.candidates:
        yield Finding(
            What.MISSING_TABLE,
            f"{table.table} in {quoted(table.said.schema)}",
            remedy=f"Say what it is called, --table {table.table}=NAME, or where it is, --schema NAME.",
        )
    else:
        yield from _columns_of_the_model(table)
        remedy = "" if table.view else "The other findings come first; then look again."
        yield Finding(What.NO_CONTRACT_VIEW, table.name, table.view, remedy)
        yield from _what_the_view_translates(table)


def _columns_of_the_model(table: Examined) -> Iterator[Finding]:
    """What keeps a view from being made of a table."""
    if table.model is None:
        return
    for name, found in table.model.ambiguous.items():
        yield Finding(
            What.AMBIGUOUS_COLUMN,
            ", ".join(_of_model(table, column) for column in found),
            remedy=f"Say which one: --column {table.table}.{name}={found[0]}",
        )
    for name in table.unusable:
        column = table.columns[name]
        yield Finding(
            What.UNUSABLE_TYPE,
            f"{_of_model(table, column.name)} ({column.declared})",
            remedy=f"Name another column: --column {table.table}.{name}=NAME",
        )
    for name in table.model.missing:
        planned = table.planned.get(name)
        remedy = f"If it is called otherwise, say so: --column {table.table}.{name}=NAME"
        if planned:
            remedy = f"Have the application write it, too, with every row it changes. {remedy}"
        where = _of_model(table, planned.column.name if planned else name)
        yield Finding(What.MISSING_COLUMN, where, planned.sql if planned else (), remedy)


def _what_the_view_translates(table: Examined) -> Iterator[Finding]:
    """What a table has otherwise than the contract, and its view as the contract has it."""
    zoneless = [each for each in table.columns.values() if each.holds is Holds.WALL_CLOCK]
    others = [
        each
        for name, each in table.columns.items()
        if held_by(name) is Holds.UUID and each.holds is not Holds.UUID
    ]
    for what, columns in ((What.ZONELESS_TIMES, zoneless), (What.IDS_ARE_NOT_UUIDS, others)):
        if columns:
            yield Finding(what, ", ".join(_of_model(table, each.name) for each in columns), table.view)


def _columns_there(table: Examined, there: Relation) -> Iterator[Finding]:
    """What a relation of the contract's name has otherwise than the contract."""
    versions = [name for name in ROW_VERSION if name not in there.columns]
    if there.kind is Kind.VIEW and versions:
        yield _made_anew(table, What.NO_ROW_VERSION, versions)
    missing = [name for name in contract_columns(table.table) if name not in there.columns]
    if missing and table.is_table:
        added = (as_contract_has(there, name) for name in missing)
        yield Finding(What.MISSING_COLUMN, _of_contract(table, missing), tuple(filter(None, added)))
    elif missing:
        yield _made_anew(table, What.MISSING_COLUMN, missing)
    for what, names in differing(there, SOURCE_COLUMNS[table.table]).items():
        yield _made_anew(table, what, names)


def _made_room(table: Examined, there: Relation) -> Iterator[Finding]:
    """What a table has otherwise that bears the contract's name by chance."""
    remedy = "Tell the application where its table is then, and look again: a view takes its place."
    moved = (sql.move_to(there, _SCHEMA_OF_PRISMA),)
    missing = [name for name in contract_columns(table.table) if name not in there.columns]
    found = {What.MISSING_COLUMN: missing} if missing else dict[What, list[str]]()
    for what, names in {**found, **differing(there, contract_columns(table.table))}.items():
        yield Finding(what, _of_contract(table, names), moved, remedy)


def _rights_of_the_view(table: Examined, there: Relation, catalog: SourceCatalog) -> Iterator[Finding]:
    for read in there.reads:
        if not read.unreadable:
            continue
        if there.asks_its_reader:
            yield Finding(What.VIEW_ASKS_ITS_READER, table.name, (sql.read_with_owners_rights(there),))
        else:
            relation = catalog.relation(read.oid)
            granted = sql.grant_to_owner(relation, read.unreadable, there.owner)
            where = quoted(relation.schema, relation.name)
            detail = f"It is {there.owner}, who owns the view {table.name}."
            yield Finding(What.MISSING_PRIVILEGE, where, (granted,), detail=detail)


def _columns_left_out(table: Examined, there: Relation) -> Iterator[Finding]:
    if table.model is None or table.is_table:
        return
    columns = table.model.columns.items()
    left_out = [each.name for name, each in columns if sql.leaves_out(there.definition, name)]
    if left_out:
        where = ", ".join(_of_model(table, name) for name in left_out)
        yield Finding(What.COLUMN_LEFT_OUT, where, table.view)


def _nullable_columns(table: Examined) -> Iterator[Finding]:
    if table.model is None:
        return
    for name, column in table.model.columns.items():
        if name not in NEVER_NULL or not column.nullable:
            continue
        forbidden = sql.never_null(table.model.relation, column)
        created = table.model.columns.get("created_at")
        if name == "updated_at" and created:
            filled = sql.fill_from(table.model.relation, column, created)
            yield Finding(What.NULLABLE_COLUMN, _of_model(table, column.name), (filled, forbidden))
        else:
            remedy = "It is refused while any row has none; such rows have to be mended first."
            yield Finding(What.NULLABLE_COLUMN, _of_model(table, column.name), (forbidden,), remedy)


def _missing_indexes(table: Examined, catalog: SourceCatalog) -> Iterator[Finding]:
    model = table.model
    if model is None:
        return
    large = model.relation.bytes >= _LARGE_TABLE_BYTES
    for name in LOOKED_UP_BY_WHEN_LARGE if large else LOOKED_UP_BY:
        column = table.columns.get(name)
        if column is None or name in table.unusable or _served(table, model.relation, name, column, catalog):
            continue
        made = (*sql.create_index(model.relation, name, column), sql.analyze(model.relation))
        yield Finding(What.MISSING_INDEX, _of_model(table, column.name), made)


def _served(table: Examined, relation: Relation, name: str, column: Column, catalog: SourceCatalog) -> bool:
    """Whether an index serves a lookup, as the planner says; as the catalog does before there is a view."""
    there = table.there
    if there and name in there.columns and not differs(name, there.columns[name]):
        # Whoever may not read the column cannot ask, and hears of that first.
        can_be_asked = there.usable and there.columns[name].readable
        made_of_it = name not in table.planned
        return not (can_be_asked and made_of_it) or catalog.finds_by_index(name) is not False
    if column.holds is held_by(name):
        return any(index.valid and index.begins_with == column.name for index in relation.indexes)
    ours = sql.index_name(relation, column)
    return any(index.valid and index.name == ours for index in relation.indexes)


def _made_anew(table: Examined, what: What, names: Sequence[str]) -> Finding:
    remedy = "" if table.view else f"Say what the view is to read: --table {table.table}=NAME"
    return Finding(what, _of_contract(table, names), table.view, remedy)


def _of_contract(table: Examined, names: Sequence[str]) -> str:
    return ", ".join(f"{table.name}.{quoted(name)}" for name in names) or table.name


def _of_model(table: Examined, column: str) -> str:
    relation = table.model.relation if table.model else None
    return quoted(relation.schema, relation.name, column) if relation else quoted(column)

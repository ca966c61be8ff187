"""The SQL that makes a source fit the contract: its views, and what they need of the tables below."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import md5
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from pipelines.postgres.grants import reading_the_source
from pipelines.postgres.schemas import ORCHESTRATION, SOURCE_COLUMNS
from pipelines.source.contract import DECLARED, ROW_VERSION, Column, Holds, Kind, Relation, held_by

# A text that looks like a UUID, and has nothing but dashes beside its digits, is one; a regular expression
# takes longer. Small letters only: two ids that differ in nothing else must not become one.
_TEXT_AS_UUID: Final = (
    "CASE WHEN {text} LIKE '________-____-____-____-____________'"
    " AND translate({text}, '0123456789abcdef', '') = '----'"
    " THEN {text}::uuid ELSE md5({text})::uuid END"
)

_LONGEST_NAME_BYTES: Final = 63

# Literals, names in quotes, words, casts, and single signs.
_TOKEN: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|::|\S""")

# What a column of the contract can be made of.
MADE_OF: Final = {
    Holds.UUID: {Holds.UUID, Holds.TEXT, Holds.INTEGER},
    Holds.TEXT: {Holds.TEXT, Holds.ENUM, Holds.INTEGER, Holds.UUID},
    Holds.INSTANT: {Holds.INSTANT, Holds.WALL_CLOCK},
}


def quoted(*names: str) -> str:
    """A qualified name as SQL spells it."""
    return Identifier(*names).as_string()


def write(text: str, *places: str | Relation | Composable) -> str:
    """A statement with its places filled in: by names, which are quoted, or by what is SQL already."""

    def written(place: str | Relation | Composable) -> Composable:
        if isinstance(place, Relation):
            return Identifier(place.schema, place.name)
        return Identifier(place) if isinstance(place, str) else place

    return SQL(text).format(*map(written, places)).as_string()


def create_view(
    table: str,
    relation: Relation,
    columns: Mapping[str, Column],
    statuses: Mapping[str, str],
    instead_of: Relation | None,
) -> Iterator[str]:
    """Yield the statements that make a view of the contract from a table.

    `columns` are the table's by the contract's names, those that it lacks left out; `statuses` what its
    labels mean; `instead_of` what has the view's name by now.
    """
    view = Identifier(ORCHESTRATION, table)
    verb = "CREATE VIEW"
    if instead_of and _can_be_replaced(table, instead_of):
        verb = "CREATE OR REPLACE VIEW"
    elif instead_of:
        materialized = "MATERIALIZED " if instead_of.kind is Kind.MATERIALIZED_VIEW else ""
        yield write(f"DROP {materialized}VIEW {{}};", view)
    names = SOURCE_COLUMNS[table]
    shown = (SQL("{} AS {}").format(_value(name, columns, statuses), Identifier(name)) for name in names)
    selected = SQL(",\n    ").join(shown)
    yield write(f"{verb} {{}} AS\nSELECT\n    {{}}\nFROM {{}} AS t;", view, selected, relation)


def grant_reading(role: str, tables: Iterable[str]) -> Iterator[str]:
    """Yield the grants by which a role reads the contract's columns of these tables, and nothing else."""
    return (write("GRANT {} TO {};", what, role) for what in reading_the_source(tables))


def add_column(relation: Relation, column: Column, *, default: str = "", filled: bool = False) -> str:
    """The statement that adds a column; one that is `filled` afterwards may be NULL until then."""
    declared = column.declared + ("" if column.nullable or filled else " NOT NULL")
    declared += f" DEFAULT {default}" if default else ""
    return write("ALTER TABLE {} ADD COLUMN {} {};", relation, column.name, SQL(declared))


def never_null(relation: Relation, column: Column) -> str:
    """The statement that forbids NULL in a column; it fails while there is any."""
    return write("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL;", relation, column.name)


def show_every_row(relation: Relation, reader: str, *, restricted: bool) -> str:
    """The statement by which row-level security hides nothing from a reader."""
    if restricted:
        return write("ALTER ROLE {} BYPASSRLS;", reader)
    name = _shortened(f"{reader} reads every row")
    return write("CREATE POLICY {} ON {} FOR SELECT TO {} USING (true);", name, relation, reader)


def index_name(relation: Relation, column: Column) -> str:
    """What an index of ours is called."""
    return _shortened(f"{relation.name}_{column.name}_execmetrics_idx")


def create_index(relation: Relation, contract_column: str, column: Column) -> Iterator[str]:
    """Yield the statements that make an index on what a view of the contract has for a column.

    An index of that name which did not serve, such as one that was never finished, goes first.
    """
    name = index_name(relation, column)
    # A partitioned table's index cannot be built beside writers.
    aside = "" if relation.kind is Kind.PARTITIONED_TABLE else "CONCURRENTLY "
    if any(index.name == name for index in relation.indexes):
        yield write(f"DROP INDEX {aside}{{}};", Identifier(relation.schema, name))
    on = "({})" if column.holds is held_by(contract_column) else "(({}))"
    expression = _expression(contract_column, column, Identifier(column.name))
    yield write(f"CREATE INDEX {aside}{{}} ON {{}} {on};", name, relation, expression)
    # The planner knows what an expression's index is good for after that.
    yield write("ANALYZE {};", relation)


def leaves_out(definition: str, name: str) -> bool:
    """Whether a view, as PostgreSQL prints it, has a constant for a column of the contract."""
    return f"{_absent(name)} AS {name}" in definition


def columns_read(definition: str, actual: Collection[str]) -> dict[str, str]:
    """Which of a table's columns a view, as PostgreSQL prints it, shows under which name.

    What is made of none of them, or of several, is left out.
    """
    read = {name: set(_columns_in(expression, actual)) for name, expression in _selected(definition)}
    return {name: columns.pop() for name, columns in read.items() if len(columns) == 1}


def words_translated(definition: str) -> dict[str, str]:
    """What a view, as PostgreSQL prints it, takes the words of a status for."""
    expression = next((each for name, each in _selected(definition) if name == "status"), [])
    words = [token[1:-1].replace("''", "'") for token in expression if token.startswith("'")]
    return dict(zip(words[::2], words[1::2], strict=False)) if "WHEN" in expression else {}


def _selected(definition: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what a view selects: its name, and the tokens of the expression."""
    tokens, depth, item = _TOKEN.findall(definition)[1:], 0, list[str]()
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if depth == 0 and token in (",", "FROM", ";"):
            name = item[-1]
            yield _unquoted(name), item[:-2] if item[-2:-1] == ["AS"] else item
            item = []
            if token != ",":
                return
        else:
            item.append(token)


def _columns_in(expression: Sequence[str], actual: Collection[str]) -> Iterator[str]:
    for before, token, after in zip(("", *expression), expression, (*expression[1:], ""), strict=False):
        # Neither the name of a type or of a function, nor that of the table.
        if before != "::" and after not in ("(", ".") and _unquoted(token) in actual:
            yield _unquoted(token)


def _unquoted(token: str) -> str:
    return token[1:-1].replace('""', '"') if token.startswith('"') else token


def _absent(name: str) -> str:
    """What a view has for a column of the contract that the table lacks."""
    absent = "'UTC'" if name == "time_zone" else "NULL"
    return f"{absent}::{DECLARED[held_by(name)]}"


def _value(name: str, columns: Mapping[str, Column], statuses: Mapping[str, str]) -> Composable:
    """What a view has for a column of the contract."""
    if name in ROW_VERSION:
        return SQL(f"t.{name}")
    if name not in columns:
        # People are shown the id where nothing has a name.
        by_id = SQL("t.{}::text").format(Identifier(columns["id"].name))
        return by_id if name == "name" else SQL(_absent(name))
    value = _expression(name, columns[name], SQL("t.{}").format(Identifier(columns[name].name)))
    if name != "status" or not statuses:
        return value
    meant = SQL(" ").join(
        SQL("WHEN {} THEN {}").format(Literal(label), Literal(status)) for label, status in statuses.items()
    )
    return SQL("CASE {} {} ELSE {} END").format(value, meant, value)


def _expression(contract_column: str, column: Column, value: Composable) -> Composable:
    """The column as the contract has it; the same text wherever it stands, or an index would not serve."""
    match held_by(contract_column), column.holds:
        case Holds.UUID, Holds.TEXT:
            text = value if column.declared == "text" else SQL("{}::text").format(value)
            return SQL(_TEXT_AS_UUID).format(text=text)
        case Holds.UUID, Holds.INTEGER:
            return SQL("md5({}::text)::uuid").format(value)
        case Holds.INSTANT, Holds.WALL_CLOCK:
            return SQL("{} AT TIME ZONE 'UTC'").format(value)
        case Holds.TEXT, _ if column.declared != "text":
            return SQL("{}::text").format(value)
    return value


def _can_be_replaced(table: str, view: Relation) -> bool:
    """Whether `CREATE OR REPLACE VIEW` takes the new one: its first columns have to stay what they are."""
    versions = {"xmin": "xid", "tableoid": "oid"}
    wanted = [(name, versions.get(name) or DECLARED[held_by(name)]) for name in SOURCE_COLUMNS[table]]
    actual = [(column.name, column.declared) for column in view.columns.values()]
    return view.kind is Kind.VIEW and actual == wanted[: len(actual)]


def _shortened(name: str) -> str:
    """The name, or what is left of one that PostgreSQL would cut off; different ones stay different."""
    if len(name.encode()) <= _LONGEST_NAME_BYTES:
        return name
    return f"execmetrics_{md5(name.encode(), usedforsecurity=False).hexdigest()}"

"""Which tables, columns and statuses of a source are those of the contract: by name, or as somebody said."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pipelines.errors import InvalidMapping
from pipelines.postgres.schemas import SOURCE_COLUMNS
from pipelines.source import contract_views as sql
from pipelines.source.contract import OPTIONAL, ROW_VERSION
from pipelines.source.relations import TABLES, Column, Relation
from pipelines.subjects.jobs import Status

# Other words for what the contract calls otherwise; words that could mean several are not here.
_OTHER_WORDS: Final[Mapping[str, Status]] = {
    "QUEUED": Status.PENDING,
    "WAITING": Status.PENDING,
    "INPROGRESS": Status.RUNNING,
    "PROCESSING": Status.RUNNING,
    "SUCCESS": Status.COMPLETED,
    "SUCCEEDED": Status.COMPLETED,
    "SUCCESSFUL": Status.COMPLETED,
    "ERROR": Status.FAILED,
    "ERRORED": Status.FAILED,
    "FAILURE": Status.FAILED,
    "CANCELED": Status.CANCELLED,
}


@dataclass(frozen=True)
class Said:
    """What somebody said of a source: names by the contract's names, statuses by its labels.

    What was said before stands in the views that are there, and holds unless `forget` is said.
    """

    schema: str = "public"
    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[tuple[str, str], str] = field(default_factory=dict)
    statuses: Mapping[str, Status] = field(default_factory=dict)
    forget: bool = False

    def __post_init__(self) -> None:
        for table in self.tables:
            if table not in SOURCE_COLUMNS:
                raise InvalidMapping(f"The contract has no table {table!r}, only {_listed(SOURCE_COLUMNS)}.")
        for table, column in self.columns:
            if column not in contract_columns(table):
                raise InvalidMapping(f"The contract has no column {table}.{column}.")

    def with_choices_of(self, table: str, view: str, relation: Relation) -> "Said":
        """The same, and what a view of that table of the contract says of a relation by its definition."""
        if self.forget:
            return self
        read = sql.columns_read(view, relation.columns)
        # Where nothing has a name, the view shows the id, which nobody has chosen.
        chosen = [name for name in contract_columns(table) if name in read and name != "name"]
        chosen += ["name"] if read.get("name") not in (None, read.get("id")) else []
        columns = {(table, name): read[name] for name in chosen}
        status = relation.columns.get({**columns, **self.columns}.get((table, "status"), ""))
        labels = status.labels if status else ()
        statuses = {
            word: Status(meant)
            for word, meant in (sql.words_translated(view) if table == "jobs" else {}).items()
            if meant in set(Status) and (word in labels or not labels)
        }
        return replace(self, columns=columns | dict(self.columns), statuses=statuses | dict(self.statuses))


@dataclass(frozen=True)
class Mapped:
    """A table of the source, its columns by the contract's names, and what was not found or is not clear."""

    table: str
    relation: Relation
    columns: Mapping[str, Column]
    ambiguous: Mapping[str, Sequence[str]]

    @property
    def missing(self) -> list[str]:
        """The columns that cannot be done without."""
        return [
            name
            for name in contract_columns(self.table)
            if name not in self.columns and name not in self.ambiguous and name not in OPTIONAL
        ]


def contract_columns(table: str) -> list[str]:
    """The contract's columns of a table, without its row version; none of a table that it does not have."""
    return [name for name in SOURCE_COLUMNS.get(table, ()) if name not in ROW_VERSION]


def find_tables(table: str, relations: Iterable[Relation], said: Said) -> list[Relation]:
    """The tables that may be meant by one of the contract, which is right when there is one.

    Raises `InvalidMapping` when somebody named a table that is not there.
    """
    there = [relation for relation in relations if relation.schema == said.schema and relation.kind in TABLES]
    named = said.tables.get(table)
    if named is None:
        words = {table, table.removesuffix("s")}
        return [relation for relation in there if _plain(relation.name) in words]
    found = [relation for relation in there if relation.name == named]
    if not found:
        raise InvalidMapping(f"The schema {said.schema!r} has no table {named!r}.")
    return found


def mapped(table: str, relation: Relation, said: Said) -> Mapped:
    """What is meant by the contract's columns; raises `InvalidMapping` for one that is not there."""
    columns: dict[str, Column] = {}
    ambiguous: dict[str, Sequence[str]] = {}
    for name in contract_columns(table):
        found = list(_find_columns(table, name, relation, said))
        if len(found) == 1:
            columns[name] = found[0]
        elif found:
            ambiguous[name] = [column.name for column in found]
    return Mapped(table, relation, columns, ambiguous)


def status_meant_by(label: str) -> Status | None:
    """The status that a label is another word for, however it is spelt; None when nobody can tell."""
    word = "".join(character for character in label.upper() if character.isalnum())
    return _OTHER_WORDS.get(word) or next((status for status in Status if status == word), None)


def _find_columns(table: str, name: str, relation: Relation, said: Said) -> Iterator[Column]:
    named = said.columns.get((table, name))
    if named is None:
        word = _plain(name)
        yield from (column for column in relation.columns.values() if _plain(column.name) == word)
        return
    if named not in relation.columns:
        raise InvalidMapping(f"The table {relation.name!r} has no column {named!r}.")
    yield relation.columns[named]


def _plain(name: str) -> str:
    """The name as case and underscores leave it."""
    return name.replace("_", "").casefold()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)

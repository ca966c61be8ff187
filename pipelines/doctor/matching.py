"""Which tables, columns and statuses of a source are those of the contract: by name, or as an option says."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, NamedTuple

from pipelines.doctor import views
from pipelines.errors import InvalidMapping
from pipelines.postgres.schemas import ORCHESTRATION, SOURCE_COLUMNS
from pipelines.source.contract import (
    NEVER_NULL,
    OPTIONAL,
    ROW_VERSION,
    TABLES,
    Column,
    Holds,
    Kind,
    Relation,
    held_by,
)
from pipelines.subjects.jobs import Status

# Other words for what the contract calls otherwise; words that could mean several are not here.
_OTHER_WORDS: Final[Mapping[str, Status]] = {
    **dict.fromkeys(("QUEUED", "WAITING"), Status.PENDING),
    **dict.fromkeys(("INPROGRESS", "PROCESSING"), Status.RUNNING),
    **dict.fromkeys(("SUCCESS", "SUCCEEDED", "SUCCESSFUL"), Status.COMPLETED),
    **dict.fromkeys(("ERROR", "ERRORED", "FAILURE"), Status.FAILED),
    "CANCELED": Status.CANCELLED,
}

# What the application has to write from now on; nobody can tell it afterwards.
_CAN_BE_ADDED: Final = ("created_at", "started_at", "completed_at", "updated_at")

_DEFAULTS: Final = {"time_zone": "'UTC'", "created_at": "now()", "updated_at": "now()"}


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
                known = ", ".join(SOURCE_COLUMNS)
                raise InvalidMapping(f"The contract has no table {table!r}, only {known}.")
        for table, column in self.columns:
            if column not in contract_columns(table):
                raise InvalidMapping(f"The contract has no column {table}.{column}.")

    def with_choices_of(self, table: str, view: str, relation: Relation) -> "Said":
        """The same, and what a view of that table of the contract says of a relation by its definition."""
        if self.forget:
            return self
        read = views.columns_read(view, relation.columns)
        # Where nothing has a name, the view shows the id, which nobody has chosen.
        if read.get("name") == read.get("id"):
            read.pop("name", None)
        columns = {(table, name): read[name] for name in contract_columns(table) if name in read}
        status = relation.columns.get({**columns, **self.columns}.get((table, "status"), ""))
        labels = status.labels if status else ()
        words = views.words_translated(view).items() if table == "jobs" else ()
        known = [(word, meant) for word, meant in words if word in labels or not labels]
        statuses = {word: Status(meant) for word, meant in known if meant in set(Status)}
        return replace(self, columns=columns | dict(self.columns), statuses=statuses | dict(self.statuses))


class Planned(NamedTuple):
    """A column that a table lacks and can be given, and the statements that give it."""

    column: Column
    sql: tuple[str, ...]


@dataclass(frozen=True)
class Examined:
    """A table of the contract in a source, as `role` reads it.

    `actual` has the contract's name by now; `model` is the table of which a view can be made, with its `own`
    columns by the contract's names. An `ambiguous` name could mean several columns. The organizations of jobs
    can be told from `workflows`.
    """

    table: str
    role: str
    actual: Relation | None
    candidates: Sequence[Relation]
    model: Relation | None
    own: Mapping[str, Column]
    ambiguous: Mapping[str, Sequence[str]]
    workflows: "Examined | None"
    said: Said

    @property
    def name(self) -> str:
        """What the contract calls it."""
        return views.quoted(ORCHESTRATION, self.table)

    @property
    def is_table(self) -> bool:
        """Whether it is read without a view."""
        return self.actual is not None and self.actual.kind in TABLES

    @property
    def missing(self) -> list[str]:
        """The columns that the model lacks and the contract cannot do without."""
        wanted = contract_columns(self.table) if self.model else []
        return [name for name in wanted if name not in {*self.own, *self.ambiguous, *OPTIONAL}]

    @cached_property
    def planned(self) -> Mapping[str, Planned]:
        """The columns that the model lacks and can be given."""
        if not self.model:
            return {}
        times = [name for name in self.missing if name in _CAN_BE_ADDED]
        planned = {name: self._planned_time(self.model, name) for name in times}
        if self.table == "jobs" and "organization_id" in self.missing:
            planned |= self._planned_organization(self.model)
        return planned

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """What the columns of the contract are made of, the planned ones included."""
        return {**self.own, **{name: planned.column for name, planned in self.planned.items()}}

    @cached_property
    def unusable(self) -> list[str]:
        """The contract's columns that cannot be told from what bears their names."""
        columns = self.columns.items()
        return [name for name, column in columns if column.holds not in views.MADE_OF[held_by(name)]]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the status, where it is an enum."""
        status = self.columns.get("status")
        return status.labels if status else ()

    @cached_property
    def statuses(self) -> Mapping[str, str]:
        """What the labels mean that the contract does not know: themselves, where nobody can tell."""
        unknown = {label: str(_meant_by(label) or label) for label in self.labels if label not in set(Status)}
        return unknown | {label: str(status) for label, status in self.said.statuses.items()}

    @cached_property
    def view(self) -> tuple[str, ...]:
        """The statements that make the view, or make it anew; none when something has to be said first."""
        model, actual = self.model, self.actual
        if model is None or self.is_table or (actual and actual.kind is Kind.FOREIGN_TABLE):
            return ()
        if self.ambiguous or self.unusable or set(self.missing) - self.planned.keys():
            return ()
        added = [statement for planned in self.planned.values() for statement in planned.sql]
        schema = [] if actual else [views.write("CREATE SCHEMA IF NOT EXISTS {};", ORCHESTRATION)]
        statuses = self.statuses if self.table == "jobs" else {}
        made = list(views.create_view(self.table, model, self.columns, statuses, actual))
        # Rights go with a view that is dropped.
        dropped = len(made) > 1 and not model.owned
        granted = views.grant_reading(self.role, [self.table]) if dropped else ()
        return (*added, *schema, *made, *granted)

    @cached_property
    def in_the_way(self) -> bool:
        """Whether it is a table that a view has to replace, and cannot while it bears that name."""
        actual = self.actual
        if actual is None or not self.is_table:
            return False
        for name in contract_columns(self.table):
            column = actual.columns.get(name)
            if column is None and (name in self.own or as_contract_has(actual, name) is None):
                return True
            if column is not None and differs(name, column):
                return True
        return False

    @property
    def can_be_granted(self) -> bool:
        """Whether it is there to stay, or will be."""
        return bool(self.view) or (self.actual is not None and not self.in_the_way)

    def unreadable(self) -> Iterator[str]:
        """Yield what the role may not read of what is there, or of the view that is to be."""
        actual = self.actual
        if actual is None:
            if self.view and self.model and not self.model.owned:
                yield self.name
        elif not self.in_the_way:
            wanted = [actual.columns[name] for name in SOURCE_COLUMNS[self.table] if name in actual.columns]
            missing = [f"{self.name}.{each.name}" for each in wanted if not (actual.usable and each.readable)]
            yield from [self.name] if len(missing) == len(wanted) else missing

    def readers(self) -> Iterator[tuple[int, str]]:
        """Yield who reads which relation, as far as row-level security is concerned: oid and role."""
        if self.actual is None:
            if self.model:
                # The view will belong to the owner of the table.
                yield self.model.oid, self.model.owner
        elif not self.is_table:
            reader = self.role if self.actual.asks_its_reader else self.actual.owner
            yield from ((read.oid, reader) for read in self.actual.reads)
        elif not self.in_the_way:
            yield self.actual.oid, self.role

    def local_clocks(self) -> Iterator[str]:
        """Yield the columns without zone that the server fills in by the clock of the session."""
        for column in self.columns.values():
            words = column.default.upper()
            local = any(word in words for word in ("CURRENT_TIMESTAMP", "NOW()", "LOCALTIMESTAMP"))
            if column.holds is Holds.WALL_CLOCK and local and "AT TIME ZONE" not in words:
                yield self.of_model(column.name)

    def of_model(self, column: str) -> str:
        """The qualified name of a column of the model."""
        return views.quoted(*((self.model.schema, self.model.name) if self.model else ()), column)

    def _planned_time(self, model: Relation, name: str) -> Planned:
        like = next((each for key, each in self.own.items() if held_by(key) is Holds.INSTANT), None)
        declared = like.declared if like else "timestamp(3) without time zone"
        holds = like.holds if like else Holds.WALL_CLOCK
        column = Column(_spelt(name, model), declared, holds, nullable=name not in NEVER_NULL)
        # Written out, because CURRENT_TIMESTAMP would be the session's local time in a column without zone.
        now = "now()" if holds is Holds.INSTANT else "(now() AT TIME ZONE 'UTC')"
        return Planned(column, (views.add_column(model, column, default="" if column.nullable else now),))

    def _planned_organization(self, model: Relation) -> dict[str, Planned]:
        """The organization of each job, as its workflow has it."""
        key, of = self.own.get("workflow_id"), self.workflows
        if of is None or of.model is None or key is None or not {"id", "organization_id"} <= of.own.keys():
            return {}
        owner = of.own["organization_id"]
        column = Column(owner.name, owner.declared, owner.holds, nullable=False)
        update = "UPDATE {} AS t SET {} = o.{} FROM {} AS o WHERE o.{} = t.{} AND t.{} IS NULL;"
        names = column.name, column.name, of.model, of.own["id"].name, key.name, column.name
        filled = views.write(update, model, *names)
        added = views.add_column(model, column, filled=True)
        return {"organization_id": Planned(column, (added, filled, views.never_null(model, column)))}


def examined(
    table: str, relations: Sequence[Relation], said: Said, role: str, workflows: Examined | None
) -> Examined:
    """Find what is meant by a table of the contract; raises `InvalidMapping`."""
    by_oid = {relation.oid: relation for relation in relations}
    actual = next((each for each in relations if (each.schema, each.name) == (ORCHESTRATION, table)), None)
    candidates = [each for each in _find_tables(table, relations, said) if each is not actual]
    if actual and actual.reads and table not in said.tables:
        # What the view reads is known, whatever it is called.
        read = [by_oid[each.oid] for each in actual.reads if by_oid[each.oid].kind in TABLES]
        candidates = [each for each in candidates if each in read] or read or candidates
    candidate = candidates[0] if len(candidates) == 1 else None
    model = actual if actual and actual.kind in TABLES else candidate
    if actual and model and actual is not model:
        said = said.with_choices_of(table, actual.definition, model)
    names = contract_columns(table) if model else []
    columns = {name: _find_columns(table, name, model, said) for name in names if model}
    found = Examined(
        *(table, role, actual, candidates, model),
        own={name: columns[0] for name, columns in columns.items() if len(columns) == 1},
        ambiguous={name: [each.name for each in several] for name, several in columns.items() if several[1:]},
        workflows=workflows,
        said=said,
    )
    for label in said.statuses if found.labels else ():
        if label not in found.labels:
            raise InvalidMapping(f"The column {found.columns['status'].name!r} has no label {label!r}.")
    return found


def contract_columns(table: str) -> list[str]:
    """The contract's columns of a table, without its row version; none of a table that it does not have."""
    return [name for name in SOURCE_COLUMNS.get(table, ()) if name not in ROW_VERSION]


def as_contract_has(relation: Relation, name: str) -> str | None:
    """The statement that adds a column to a table without a view; None when every row must have one."""
    default = _DEFAULTS.get(name, "")
    if name in NEVER_NULL and not default:
        return None
    column = Column(name, held_by(name), held_by(name), nullable=not default)
    return views.add_column(relation, column, default=default)


def differs(name: str, column: Column) -> bool:
    """Whether a column that bears a name of the contract holds something else; any can be read as text."""
    return name not in ROW_VERSION and held_by(name) not in (Holds.TEXT, column.holds)


def _find_tables(table: str, relations: Iterable[Relation], said: Said) -> list[Relation]:
    """The tables that may be meant by one of the contract, which is right when there is one."""
    tables = [each for each in relations if each.schema == said.schema and each.kind in TABLES]
    named = said.tables.get(table)
    if named is None:
        return [each for each in tables if _plain(each.name) in (table, table.removesuffix("s"))]
    found = [relation for relation in tables if relation.name == named]
    if not found:
        raise InvalidMapping(f"The schema {said.schema!r} has no table {named!r}.")
    return found


def _find_columns(table: str, name: str, relation: Relation, said: Said) -> list[Column]:
    named = said.columns.get((table, name))
    if named is None:
        return [column for column in relation.columns.values() if _plain(column.name) == _plain(name)]
    if named not in relation.columns:
        raise InvalidMapping(f"The table {relation.name!r} has no column {named!r}.")
    return [relation.columns[named]]


def _meant_by(label: str) -> Status | None:
    """The status that a label is another word for, however it is spelt; None when nobody can tell."""
    word = "".join(character for character in label.upper() if character.isalnum())
    return _OTHER_WORDS.get(word) or (Status(word) if word in set(Status) else None)


def _plain(name: str) -> str:
    """The name as case and underscores leave it."""
    return name.replace("_", "").casefold()


def _spelt(name: str, model: Relation) -> str:
    """The name in the manner of its table: updatedAt, unless other columns have underscores."""
    if any("_" in column for column in model.columns):
        return name
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

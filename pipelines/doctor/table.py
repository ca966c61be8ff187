"""One table of the contract: what has its name in a source, and what a view of that name can be made of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.doctor.findings import What
from pipelines.doctor.mapping import (
    Mapped,
    Said,
    contract_columns,
    find_tables,
    mapped,
    status_meant_by,
)
from pipelines.doctor.planned import Planned, as_contract_has, planned_columns
from pipelines.errors import InvalidMapping
from pipelines.postgres.schemas import ORCHESTRATION, SOURCE_COLUMNS
from pipelines.source import contract_views as sql
from pipelines.source.contract import ROW_VERSION, held_by
from pipelines.source.relations import TABLES, Column, Holds, Kind, Relation
from pipelines.subjects.jobs import Status


@dataclass(frozen=True)
class Examined:
    """A table of the contract; `there` has its name by now, `model` is the table of which a view can be made.

    `role` reads it; `workflows` are what the organizations of jobs can be told from.
    """

    table: str
    role: str
    there: Relation | None
    candidates: Sequence[Relation]
    model: Mapped | None
    workflows: Mapped | None
    said: Said

    @property
    def name(self) -> str:
        """What the contract calls it."""
        return sql.quoted(ORCHESTRATION, self.table)

    @property
    def is_table(self) -> bool:
        """Whether it is read without a view."""
        return self.there is not None and self.there.kind in TABLES

    @cached_property
    def planned(self) -> Mapping[str, Planned]:
        """The columns that the model lacks and can be given."""
        return planned_columns(self.model, self.workflows) if self.model else {}

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """What the columns of the contract are made of, the planned ones included."""
        if self.model is None:
            return {}
        return {**self.model.columns, **{name: planned.column for name, planned in self.planned.items()}}

    @cached_property
    def unusable(self) -> list[str]:
        """The contract's columns that cannot be told from what bears their names."""
        return [name for name, column in self.columns.items() if not sql.can_be_made_of(name, column)]

    @cached_property
    def statuses(self) -> Mapping[str, str]:
        """What the labels mean that the contract does not know: themselves, where nobody can tell."""
        said = {label: str(status) for label, status in self.said.statuses.items()}
        return {label: str(status_meant_by(label) or label) for label in self.unknown_labels} | said

    @property
    def unknown_labels(self) -> list[str]:
        """The labels of the status that the contract does not know, whether any job has them or not."""
        status = self.status
        return [label for label in status.labels if label not in set(Status)] if status else []

    @property
    def status(self) -> Column | None:
        """What the status is told from."""
        return self.columns.get("status") if self.table == "jobs" else None

    @cached_property
    def view(self) -> tuple[str, ...]:
        """The statements that make the view, or make it anew; none when something has to be said first."""
        model, there = self.model, self.there
        if model is None or self.is_table or (there and there.kind is Kind.FOREIGN_TABLE):
            return ()
        if model.ambiguous or self.unusable or set(model.missing) - self.planned.keys():
            return ()
        added = [statement for planned in self.planned.values() for statement in planned.sql]
        schema = [] if there else [sql.create_schema()]
        statuses = self.statuses if self.table == "jobs" else {}
        made = list(
            sql.create_view(self.table, model.relation, self.columns, statuses=statuses, instead_of=there)
        )
        # Rights go with a view that is dropped.
        dropped = len(made) > 1 and not model.relation.owned
        granted = sql.grant_reading(self.role, [self.table]) if dropped else ()
        return (*added, *schema, *made, *granted)

    @cached_property
    def in_the_way(self) -> bool:
        """Whether it is a table that a view has to replace, and cannot while it bears that name."""
        there = self.there
        if there is None or not self.is_table:
            return False
        missing = [name for name in contract_columns(self.table) if name not in there.columns]
        otherwise = self.model.columns if self.model else {}
        cannot_be_added = [
            name for name in missing if name in otherwise or as_contract_has(there, name) is None
        ]
        return bool(cannot_be_added or differing(there, contract_columns(self.table)))

    @property
    def can_be_granted(self) -> bool:
        """Whether it is there to stay, or will be."""
        return bool(self.view) or (self.there is not None and not self.in_the_way)

    def unreadable(self) -> Iterator[str]:
        """Yield what the role may not read of what is there, or of the view that is to be."""
        if self.in_the_way:
            return
        if self.there is None:
            if self.view and self.model and not self.model.relation.owned:
                yield self.name
            return
        there = self.there
        wanted = [there.columns[name] for name in SOURCE_COLUMNS[self.table] if name in there.columns]
        missing = [column.name for column in wanted if not (there.usable and column.readable)]
        if len(missing) == len(wanted):
            yield self.name
        else:
            yield from (f"{self.name}.{name}" for name in missing)

    def readers(self) -> Iterator[tuple[int, str]]:
        """Yield who reads which relation, as far as row-level security is concerned: oid and role."""
        if self.there is None:
            if self.model:
                # The view will belong to whoever owns the table.
                yield self.model.relation.oid, self.model.relation.owner
        elif self.is_table:
            if not self.in_the_way:
                yield self.there.oid, self.role
        else:
            reader = self.role if self.there.asks_its_reader else self.there.owner
            yield from ((read.oid, reader) for read in self.there.reads)

    def local_clocks(self) -> Iterator[str]:
        """Yield the columns without zone that the server fills in by the clock of the session."""
        for column in self.columns.values():
            words = column.default.upper()
            local = "CURRENT_TIMESTAMP" in words or "NOW()" in words or "LOCALTIMESTAMP" in words
            if column.holds is Holds.WALL_CLOCK and local and "AT TIME ZONE" not in words and self.model:
                yield sql.quoted(self.model.relation.schema, self.model.relation.name, column.name)


def differs(name: str, column: Column) -> What | None:
    """What a column that bears a name of the contract has otherwise than the contract."""
    if name in ROW_VERSION or held_by(name) in (Holds.TEXT, column.holds):
        return None
    if held_by(name) is Holds.UUID:
        return What.IDS_ARE_NOT_UUIDS
    return What.ZONELESS_TIMES if column.holds is Holds.WALL_CLOCK else What.UNUSABLE_TYPE


def differing(relation: Relation, names: Iterable[str]) -> Mapping[What, list[str]]:
    """The columns of these names that are otherwise than in the contract."""
    found: dict[What, list[str]] = {}
    for name in names:
        if name in relation.columns and (what := differs(name, relation.columns[name])):
            found.setdefault(what, []).append(name)
    return found


def examined(
    table: str, relations: Sequence[Relation], said: Said, role: str, workflows: Mapped | None
) -> Examined:
    """Find what is meant by a table of the contract; raises `InvalidMapping`."""
    by_oid = {relation.oid: relation for relation in relations}
    there = next((each for each in relations if (each.schema, each.name) == (ORCHESTRATION, table)), None)
    candidates = [each for each in find_tables(table, relations, said) if each is not there]
    if there and there.reads and table not in said.tables:
        # What the view reads is known, whatever it is called.
        read = [by_oid[each.oid] for each in there.reads if by_oid[each.oid].kind in TABLES]
        candidates = [each for each in candidates if each in read] or read or candidates
    only = there if there and there.kind in TABLES else candidates[0] if len(candidates) == 1 else None
    if there and only and there is not only:
        said = said.with_choices_of(table, there.definition, only)
    model = mapped(table, only, said) if only else None
    found = Examined(table, role, there, candidates, model, workflows, said)
    _require_labels(found)
    return found


def _require_labels(found: Examined) -> None:
    status = found.status
    for label in found.said.statuses if status and status.labels else ():
        if status and label not in status.labels:
            raise InvalidMapping(f"The column {status.name!r} has no label {label!r}.")

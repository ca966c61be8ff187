"""Looking at a source as its role sees it, and saying what a refresh would stumble over."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.doctor.checks import findings_of
from pipelines.doctor.findings import Finding, What, in_order, script
from pipelines.doctor.mapping import Said, contract_columns
from pipelines.doctor.table import Examined, examined
from pipelines.errors import InvalidMapping
from pipelines.postgres.connections import Databases
from pipelines.postgres.schemas import ORCHESTRATION, SOURCE_COLUMNS
from pipelines.settings import Settings
from pipelines.source.catalog import SourceCatalog, open_catalog
from pipelines.source.contract_views import grant_reading, let_call, quoted, show_every_row, think_in_utc


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
        """The statements that mend all of it, in the order to run them."""
        return script(self.findings)


def examine(databases: Databases, settings: Settings, said: Said, *, role: str | None = None) -> Diagnosis:
    """Look at the source's catalog; of its rows, at nothing but the statuses that the contract does not know.

    Raises `InvalidMapping`, `NoSuchRole` and `DatabaseUnreachable`.
    """
    with open_catalog(databases.source_url, settings, role=role) as catalog:
        relations = catalog.relations(said.schema)
        if said.schema != Said().schema and not any(each.schema == said.schema for each in relations):
            raise InvalidMapping(f"The source has no table in a schema {said.schema!r}.")
        tables: dict[str, Examined] = {}
        for table in SOURCE_COLUMNS:
            workflows = tables["workflows"].model if "workflows" in tables else None
            tables[table] = examined(table, relations, said, catalog.role.name, workflows)
        findings = [finding for table in tables.values() for finding in findings_of(table, catalog)]
        findings += _findings_of_all(list(tables.values()), catalog)
        return Diagnosis(
            role=catalog.role.name,
            database=catalog.role.database,
            tables=tuple(map(_found, tables.values())),
            findings=in_order(findings),
        )


def _findings_of_all(tables: Sequence[Examined], catalog: SourceCatalog) -> Iterator[Finding]:
    yield from _hidden_rows(tables, catalog)
    yield from _missing_functions(catalog)
    for name, reason in catalog.read_whole().items():
        remedy = "A view of one table that shows its xmin is read faster."
        yield Finding(What.READ_WHOLE, quoted(ORCHESTRATION, name), remedy=remedy, detail=f"Why: {reason}.")
    yield from _missing_privileges(tables, catalog.role.name)
    clocks = [clock for table in tables for clock in table.local_clocks()]
    if clocks and not catalog.role.in_utc:
        sql = (think_in_utc(catalog.role.database),)
        yield Finding(What.SESSIONS_NOT_IN_UTC, ", ".join(clocks), sql)


def _missing_privileges(tables: Sequence[Examined], role: str) -> Iterator[Finding]:
    unreadable = [name for table in tables for name in table.unreadable()]
    if unreadable:
        granted = grant_reading(role, (table.table for table in tables if table.can_be_granted))
        yield Finding(What.MISSING_PRIVILEGE, ", ".join(unreadable), tuple(granted), detail=f"It is {role}.")


def _missing_functions(catalog: SourceCatalog) -> Iterator[Finding]:
    for signature, present in catalog.missing_functions().items():
        granted = (let_call(signature, catalog.role.name),) if present else ()
        remedy = "" if present else "PostgreSQL 15 or newer has it."
        yield Finding(What.MISSING_FUNCTION, signature, granted, remedy, f"It is {catalog.role.name}.")


def _hidden_rows(tables: Sequence[Examined], catalog: SourceCatalog) -> Iterator[Finding]:
    readers = dict.fromkeys(reader for table in tables for reader in table.readers())
    for hiding in catalog.hiding_policies(list(readers)):
        relation = catalog.relation(hiding.relation)
        yield Finding(
            What.HIDDEN_ROWS,
            quoted(relation.schema, relation.name),
            (show_every_row(relation, hiding.reader, restricted=hiding.restricted),),
            detail=f"It is read as {hiding.reader}.",
        )


def _found(table: Examined) -> TableFound:
    relation = table.model.relation if table.model else table.there
    columns = table.model.columns if table.model else table.there.columns if table.there else {}
    return TableFound(
        table=table.table,
        read_from=quoted(relation.schema, relation.name) if relation else None,
        through_view=bool(relation and relation is not table.there),
        columns={
            name: columns[name].name if name in columns else None for name in contract_columns(table.table)
        },
    )

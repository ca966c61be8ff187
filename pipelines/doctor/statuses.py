"""Which statuses of jobs the contract does not know, in the declaration of their column and in the rows."""

from collections.abc import Iterator, Mapping

from pipelines.doctor.findings import Finding, What
from pipelines.doctor.table import Examined
from pipelines.source.catalog import SourceCatalog
from pipelines.source.contract_views import quoted, translates
from pipelines.source.relations import Column, Relation
from pipelines.subjects.jobs import Status


def unknown_statuses(table: Examined, catalog: SourceCatalog) -> Iterator[Finding]:
    """Yield what the view does not translate: labels by name, of words in rows how many there are."""
    relation = table.there or (table.model.relation if table.model else None)
    column = table.there.columns.get("status") if table.there else table.status
    if relation is None or column is None:
        return
    where = quoted(relation.schema, relation.name, column.name)
    untranslated = [label for label in table.statuses if not _translated(table, label)]
    declared = bool(table.status and table.status.labels)
    if declared and not untranslated:
        return
    present = _present(relation, column, catalog)
    if declared:
        said = "; ".join(_about(label, table.statuses[label], present) for label in untranslated)
        remedy = "" if table.is_table else f"If that is wrong, say so: --status {untranslated[0]}=STATUS"
        yield Finding(What.UNKNOWN_STATUS, where, table.view, remedy, f"{said}.")
    elif present or untranslated:
        jobs = sum(present.values()) if present else 0
        detail = f"{len(present or {}):,} such words are in {jobs:,} jobs."
        remedy = "" if table.is_table else "Say what each means: --status WORD=STATUS"
        yield Finding(What.UNKNOWN_STATUS, where, table.view if untranslated else (), remedy, detail)


def _translated(table: Examined, label: str) -> bool:
    """Whether the view says what a label means: what somebody said, or whatever it is."""
    if table.there is None:
        return False
    said = table.said.statuses.get(label)
    return translates(table.there.definition, label, str(said) if said else None)


def _present(relation: Relation, column: Column, catalog: SourceCatalog) -> Mapping[str, int] | None:
    """How many jobs have each; None when the role may not look, or looking takes too long."""
    if not (relation.usable and column.readable):
        return None
    return catalog.unknown_statuses(relation, column, [str(status) for status in Status])


def _about(label: str, meant: str, present: Mapping[str, int] | None) -> str:
    has = "" if present is None else f", {present.get(label, 0):,} jobs have it"
    return f"{label} stays unknown{has}" if meant == label else f"{label} is taken for {meant}{has}"

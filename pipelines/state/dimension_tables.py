"""The names dashboards show, copied from the source because in production it is another database."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import polars as pl
from psycopg import Connection

from pipelines.frames import id_series, uuids
from pipelines.postgres.connections import Run
from pipelines.postgres.schemas import ANALYTICS
from pipelines.postgres.statements import render, statement
from pipelines.source.snapshot import Names

_ID_COLUMNS: Final = ("id", "organization_id")


@dataclass(frozen=True)
class NamesToCopy:
    """Names that changed, and which workflows and clients changed hands.

    One that changed hands goes with its former owner: until that one is published, whose jobs are no
    longer all its own, the change is found again.
    """

    names: Names
    former_owners: Mapping[str, Mapping[UUID, UUID]]

    def moved(self, kind: str, organization_ids: Collection[UUID]) -> list[UUID]:
        """The `workflows` or `clients` that belonged to one of these organizations before."""
        former = self.former_owners[kind]
        return sorted(key for key in former if former[key] in organization_ids)

    def of(self, organization_ids: Collection[UUID]) -> Names:
        """Those that are copied when these organizations are published."""
        ids = id_series("id", organization_ids).implode()
        return Names(
            self.names.organizations.filter(pl.col("id").is_in(ids)),
            self._with_owner("workflows", self.names.workflows, ids),
            self._with_owner("clients", self.names.clients, ids),
        )

    def _with_owner(self, kind: str, names: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
        former = self.former_owners[kind]
        if not former:
            return names.filter(pl.col("organization_id").is_in(ids))
        owner = pl.col("id").replace_strict(
            id_series("id", former),
            id_series("organization_id", former.values()),
            default=pl.col("organization_id"),
            return_dtype=pl.Binary,
        )
        return names.filter(owner.is_in(ids))


def find_moved(run: Run, names: Names) -> NamesToCopy:
    """Find out which of these workflows and clients changed hands since their names were copied."""
    with run.analytics() as connection:
        former = {
            kind: _former_owners(connection, kind, frame)
            for kind, frame in (("workflows", names.workflows), ("clients", names.clients))
        }
    return NamesToCopy(names, former)


def copy_names(connection: Connection, names: Names) -> int:
    """Upsert organizations, workflows and clients; return how many rows changed."""
    written = _upsert(connection, statement("dimension_tables/upsert_organizations"), names.organizations)
    for table, frame in (("workflows", names.workflows), ("clients", names.clients)):
        text = render("dimension_tables/upsert_names", {"names": f"{ANALYTICS}.{table}"})
        written += _upsert(connection, text, frame)
    return written


def _former_owners(connection: Connection, kind: str, names: pl.DataFrame) -> dict[UUID, UUID]:
    if names.is_empty():
        return {}
    values = {"kind": kind, "ids": uuids(names["id"]), "organization_ids": uuids(names["organization_id"])}
    return dict(connection.execute(statement("dimension_tables/changed_owners"), values).fetchall())


def _upsert(connection: Connection, text: str, frame: pl.DataFrame) -> int:
    if frame.is_empty():
        return 0
    values = {
        name: uuids(frame[name]) if name in _ID_COLUMNS else frame[name].to_list() for name in frame.columns
    }
    return connection.execute(text, values).rowcount

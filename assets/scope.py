"""What one run is asked to do: the configuration of a materialization."""

from enum import Enum
from uuid import UUID

import dagster as dg
from pydantic import Field

from pipelines.errors import InvalidOrganization


class Mode(Enum):
    """Which rows of the source are read; in a run's configuration Dagster takes the members' names."""

    reconcile = "reconcile"
    refresh = "refresh"


class Organizations(dg.Config):
    """Whom a run is about."""

    organization_ids: list[str] = Field(
        default=[], description="Touch only these organizations (UUIDs); empty means all."
    )

    def organizations(self) -> list[UUID]:
        """The organizations asked for; raises `InvalidOrganization` for what is no UUID."""
        try:
            return sorted({UUID(organization_id) for organization_id in self.organization_ids})
        except ValueError:
            raise InvalidOrganization("(organization_ids)") from None


class Scope(Organizations):
    """By default a materialization makes its days equal the source again, for every organization."""

    mode: Mode = Field(
        default=Mode.reconcile,
        description="reconcile: all jobs completed on these days; refresh: what changed, whatever the day.",
    )
    accept_deletes: bool = Field(
        default=False,
        description="Believe the source, however many jobs of an organization are gone from it.",
    )


def completed_days(context: dg.AssetExecutionContext, scope: Scope) -> dg.TimeWindow | None:
    """The days whose jobs are read again, however old their last change: none for a refresh."""
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure("A run needs days: choose partitions.", allow_retries=False)
    return context.partition_time_window if scope.mode is Mode.reconcile else None

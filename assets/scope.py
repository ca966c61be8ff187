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
        default=[],
        description="Read and write only these organizations, each named by its UUID. An empty list means all"
        " organizations. Give every asset of the run the same list.",
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
        description="`reconcile` compares all jobs that completed on the chosen days with the source, hard"
        " deletes included. `refresh` reads what changed since the last run, whatever the day, as the hourly"
        " schedule does. Give every asset of the run the same mode.",
    )
    accept_deletes: bool = Field(
        default=False,
        description="Delete jobs that are gone from the source however many they are. Without it, an"
        " organization fails that would lose more than 10 % of its jobs and at least 1,000.",
    )


def completed_days(context: dg.AssetExecutionContext, scope: Scope) -> dg.TimeWindow | None:
    """The days whose jobs are read again, however old their last change: none for a refresh.

    Says in the run's log what the run is asked to do.
    """
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure("A run needs days: choose partitions.", allow_retries=False)
    whom = (
        f"some organizations ({len(scope.organization_ids)})"
        if scope.organization_ids
        else "all organizations"
    )
    if scope.mode is Mode.refresh:
        context.log.info(f"Refresh for {whom}: what changed in the source since the last run.")
        return None
    keys = context.partition_keys
    context.log.info(f"Reconcile for {whom}: the days from {keys[0]} to {keys[-1]}.")
    days: dg.TimeWindow = context.partition_time_window
    return days

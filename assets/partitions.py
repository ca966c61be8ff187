"""The days of the tables: what a run is asked to do with them, and what it reports of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID

import dagster as dg
from pydantic import Field

from assets.failures import named_failures
from pipelines.errors import InvalidOrganization
from pipelines.settings import load_settings

# The same in every process that loads this file, and read without a database.
FIRST_DAY: Final = load_settings().partitions_since

# Today's partition exists from midnight on.
DAILY: Final = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)

# One run does at most a month, so that a long backfill leaves room for the hourly run in between.
A_MONTH_A_RUN: Final = dg.BackfillPolicy.multi_run(max_partitions_per_run=31)

# A day costs some ten milliseconds for each table. Days with jobs do not wait; of years without jobs, which
# only old histories have, each run reports one.
_EMPTY_DAYS_A_RUN: Final = 366

# Range runs copy what is said to every partition, and more than these would be too long to read.
_NAMED: Final = 20


class Mode(Enum):
    """Which rows of the source are read; in a run's configuration Dagster takes the members' names."""

    reconcile = "reconcile"
    refresh = "refresh"


class Organizations(dg.Config):
    """The organizations that a run is about."""

    organization_ids: list[str] = Field(
        default=[],
        description="Read and write only these organizations, each named by its UUID. An empty list means all"
        " organizations. Give every asset of the run the same list.",
    )

    def organizations(self) -> list[UUID]:
        """The organizations asked for; the step fails at once for what is no UUID."""
        with named_failures():
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
    some = len(scope.organization_ids)
    whom = f"some organizations ({some})" if some else "all organizations"
    if scope.mode is Mode.refresh:
        context.log.info(f"Refresh for {whom}: what changed in the source since the last run.")
        return None
    keys = context.partition_keys
    context.log.info(f"Reconcile for {whom}: the days from {keys[0]} to {keys[-1]}.")
    days: dg.TimeWindow = context.partition_time_window
    return days


def report_days(
    context: dg.AssetExecutionContext,
    scope: Scope,
    figures: Mapping[str, Any],
    jobs_by_day: Mapping[date, int],
    *,
    complete: bool = True,
    counts_jobs: bool = False,
) -> None:
    """Report the figures of a run on its newest day, and every day that a refresh has covered.

    A refresh of all organizations covers each day from the first with jobs to the run's newest. Days among
    them that were never materialized, or failed in an earlier refresh, are reported as materialized, unless
    the table is not `complete`. A table that `counts_jobs` has its rows of each day reported. A run for some
    organizations says so on each of its days.
    """
    # A figure of the run that stood on each of its days would be drawn as a flat line.
    context.add_asset_metadata(figures, partition_key=context.partition_keys[-1])
    if counts_jobs:
        for key in context.partition_keys:
            context.add_asset_metadata(_rows_of(key, jobs_by_day), partition_key=key)
    if scope.organization_ids:
        context.add_asset_metadata({"only_organizations": _only(scope)})
        context.log.info("These days are done for the organizations of this run only.")
    elif scope.mode is Mode.refresh and not complete:
        context.log.info("Not every organization is up to date, so no other day is marked as materialized.")
    elif scope.mode is Mode.refresh and jobs_by_day:
        _mark_covered(context, jobs_by_day, counts_jobs=counts_jobs)


def _mark_covered(
    context: dg.AssetExecutionContext, jobs_by_day: Mapping[date, int], *, counts_jobs: bool
) -> None:
    first, last = max(min(jobs_by_day), FIRST_DAY), date.fromisoformat(context.partition_keys[-1])
    covered = [(first + timedelta(days=day)).isoformat() for day in range((last - first).days + 1)]
    unmarked = _unmarked(context, covered)
    empty = [key for key in unmarked if date.fromisoformat(key) not in jobs_by_day]
    later = set(empty[:-_EMPTY_DAYS_A_RUN])
    new = [key for key in unmarked if key not in later]
    for key in new:
        context.log_event(
            dg.AssetMaterialization(
                context.asset_key,
                partition=key,
                description="A refresh has covered this day.",
                metadata=_rows_of(key, jobs_by_day) if counts_jobs else None,
            )
        )
    if new:
        context.log.info(
            "Days marked as materialized, because a refresh covers them:"
            f" {len(new)}, from {new[0]} to {new[-1]}."
        )


def _unmarked(context: dg.AssetExecutionContext, keys: Sequence[str]) -> list[str]:
    """Those of the days that are neither materialized, nor at work, nor failed in a backfill."""
    instance, asset = context.instance, context.asset_key
    statuses = instance.get_status_by_partition(asset, keys, DAILY) or {}
    failed = {key for key, status in statuses.items() if status is dg.AssetPartitionStatus.FAILED}
    if failed:
        events = instance.event_log_storage
        tried = events.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
        runs = {key: instance.get_run_by_id(tried[key][0]) for key in failed & tried.keys()}
        failed = {key for key, run in runs.items() if run and run.job_name == context.run.job_name}
    unmarked = {key for key in keys if statuses.get(key) is None or key in failed}
    return sorted(unmarked - set(context.partition_keys))


def log_first_day(context: dg.AssetExecutionContext, jobs_by_day: Mapping[date, int]) -> None:
    """Say in the run's log how EXECMETRICS_PARTITIONS_SINCE should be set, unless it is right."""
    first = min(jobs_by_day, default=FIRST_DAY)
    if first < FIRST_DAY:
        context.log.warning(
            f"The first job completed on {first}, before the first partition {FIRST_DAY}: earlier days can"
            f" neither be seen nor backfilled here until EXECMETRICS_PARTITIONS_SINCE={first} is set."
        )
    elif first > FIRST_DAY:
        context.log.info(
            f"No job that counts completed before {first}. Days from {FIRST_DAY} on are shown as missing"
            f" until EXECMETRICS_PARTITIONS_SINCE={first} is set."
        )


def _rows_of(key: str, jobs_by_day: Mapping[date, int]) -> dict[str, int]:
    return {"dagster/partition_row_count": jobs_by_day.get(date.fromisoformat(key), 0)}


def _only(scope: Scope) -> str:
    some = scope.organizations()
    more = ", …" if len(some) > _NAMED else ""
    return f"Done for some organizations only ({len(some)}), the others are as they were: {named(some)}{more}"


def named(organizations: Iterable[object]) -> str:
    """The first of some organizations, each by its id and what there is to say."""
    return ", ".join(map(str, list(organizations)[:_NAMED]))

"""The days by which the tables can be backfilled."""

from typing import Final

import dagster as dg

# A constant, because moving it would rename every partition; today's partition exists from midnight on.
DAILY: Final = dg.DailyPartitionsDefinition(start_date="2010-01-01", timezone="UTC", end_offset=1)

# One run does at most a month, so that a long backfill leaves room for the hourly run in between.
A_MONTH_A_RUN: Final = dg.BackfillPolicy.multi_run(max_partitions_per_run=31)

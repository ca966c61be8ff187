"""Whether the metrics have every row of a month, so that its lines may go."""

from datetime import datetime

import polars as pl

from pipelines.facts.fact_table import open_facts
from pipelines.facts.health import reading_facts
from pipelines.facts.merge import checksums, differing_days
from pipelines.frames import uuids
from pipelines.postgres.connections import Databases, connect
from pipelines.publish.publisher import find_unpublished
from pipelines.settings import Settings
from pipelines.source.rows import SourceRowsOf
from pipelines.source.snapshot import open_source
from pipelines.state.watermarks import find_watermarks
from pipelines.subjects.steps import STEPS


def why_unpublished(databases: Databases, settings: Settings, since: datetime, until: datetime) -> str | None:
    """What keeps the lines of [since, until) from being dropped; None when all their steps are published.

    The caller holds the refresh lock, and keeps others from writing these lines.
    """
    fact = STEPS.fact
    with (
        open_source(databases.source_url, settings) as source,
        reading_facts(settings.step_facts_location, fact),
    ):
        steps = SourceRowsOf(source, settings, STEPS)
        if not steps.is_readable:
            return "the steps cannot be read"
        there = steps.checksums(None, since, until)
        facts = open_facts(settings, fact)
        here = facts.scan().filter(pl.col(fact.time).is_between(since, until, closed="left"))
        days = differing_days(there, checksums(here, fact.partition_column), fact.partition_column)
        if days.height:
            return f"days of organizations that are not as the last refresh read them: {days.height:,}"
        with connect(databases.analytics_url, settings) as analytics:
            seen = find_watermarks(analytics, STEPS)
        mine = {key: seen.get(key) for key in uuids(there["organization_id"].unique())}
        shown = {key: each for key, each in mine.items() if each and each.shows(facts)}
        if len(shown) < len(mine):
            return (
                f"organizations whose steps were not published from these facts: {len(mine) - len(shown):,}"
            )
        waiting = find_unpublished(facts, STEPS, shown)
        return "steps were read that are not published yet" if waiting else None

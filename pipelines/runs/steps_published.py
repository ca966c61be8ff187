"""Whether the metrics have every step of a month, so that its lines may go."""

from datetime import datetime

import polars as pl

from pipelines.errors import FeedLost
from pipelines.facts.checksums import differing_days, digest
from pipelines.facts.delta import STEP_FACTS
from pipelines.facts.fact_table import open_facts
from pipelines.facts.health import reading_facts
from pipelines.frames import uuids
from pipelines.postgres.connections import Databases, connect
from pipelines.publish.steps import unpublished_steps
from pipelines.settings import Settings
from pipelines.source.snapshot import open_source
from pipelines.source.steps import StepSource
from pipelines.state.step_watermarks import find_step_progress


def why_unpublished(databases: Databases, settings: Settings, since: datetime, until: datetime) -> str | None:
    """What keeps the lines of [since, until) from being dropped; None when all their steps are published.

    The caller holds the refresh lock, and keeps others from writing these lines.
    """
    with (
        open_source(databases.source_url, settings) as source,
        reading_facts(settings.step_facts_location, STEP_FACTS),
    ):
        steps = StepSource(source, settings)
        if not steps.has_steps:
            return "the steps cannot be read"
        there = steps.digest(None, since, until)
        facts = open_facts(settings, STEP_FACTS)
        here = facts.scan().filter(pl.col("completed_at").is_between(since, until, closed="left"))
        days = differing_days(there, digest(here, STEP_FACTS.home), STEP_FACTS.home)
        if days.height:
            return f"days of organizations that are not as the last refresh read them: {days.height:,}"
        with connect(databases.analytics_url, settings) as analytics:
            seen = find_step_progress(analytics)
        mine = {key: seen.get(key) for key in uuids(there["organization_id"].unique())}
        shown = {key: each for key, each in mine.items() if each and each.shows(facts)}
        if len(shown) < len(mine):
            return (
                f"organizations whose steps were not published from these facts: {len(mine) - len(shown):,}"
            )
        try:
            waiting = any(images.height for images in unpublished_steps(facts, shown))
        except FeedLost:
            waiting = True
        return "steps were read that are not published yet" if waiting else None

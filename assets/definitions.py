"""Everything Dagster loads: named in workspace.yaml."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.checks import CHECKS, metadata_equals_its_sources
from assets.failures import call_webhook
from assets.jobs import JOBS_OF_DAGSTER, SCHEDULES
from assets.resources import Pipeline
from assets.tables import BY_DAY, SOURCES, execution_metadata


def build_definitions(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All definitions; `resources` replace those of the same name."""
    return dg.Definitions(
        assets=[*SOURCES.values(), *dg.with_source_code_references([*BY_DAY, execution_metadata])],
        asset_checks=[check.with_hooks({call_webhook}) for check in (*CHECKS, metadata_equals_its_sources)],
        jobs=JOBS_OF_DAGSTER,
        schedules=SCHEDULES,
        resources={"pipeline": Pipeline()} | dict(resources or {}),
        # Polars and DuckDB use every core by themselves, and a process per step costs five seconds.
        executor=dg.in_process_executor,
    )


defs = build_definitions()

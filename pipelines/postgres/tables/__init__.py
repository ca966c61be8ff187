"""The tables of both schemas."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import MetaData

from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION
from pipelines.postgres.tables.analytics import aggregate_metrics, aggregate_step_metrics
from pipelines.postgres.tables.columns import analytics_metadata, orchestration_metadata
from pipelines.postgres.tables.orchestration import execution_metadata

__all__ = ["METADATA", "aggregate_metrics", "aggregate_step_metrics", "execution_metadata"]

METADATA: Final[Mapping[str, MetaData]] = {
    ORCHESTRATION: orchestration_metadata,
    ANALYTICS: analytics_metadata,
}

"""The tables of both schemas."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import MetaData

from pipelines.storage.tables.analytics import aggregate_metrics, aggregate_step_metrics
from pipelines.storage.tables.columns import (
    ANALYTICS,
    ORCHESTRATION,
    analytics_metadata,
    orchestration_metadata,
)
from pipelines.storage.tables.orchestration import (
    MONTHS_COLUMNS,
    SOURCE_COLUMNS,
    STEP_SOURCE_COLUMNS,
    execution_metadata,
)

__all__ = [
    "ANALYTICS",
    "METADATA",
    "MONTHS_COLUMNS",
    "ORCHESTRATION",
    "SOURCE_COLUMNS",
    "STEP_SOURCE_COLUMNS",
    "aggregate_metrics",
    "aggregate_step_metrics",
    "execution_metadata",
]

METADATA: Final[Mapping[str, MetaData]] = {
    ORCHESTRATION: orchestration_metadata,
    ANALYTICS: analytics_metadata,
}

"""The two schemas by name, and the columns that the pipeline reads of the source's."""

from collections.abc import Mapping
from typing import Final

ORCHESTRATION: Final = "orchestration"
ANALYTICS: Final = "analytics"

Columns = Mapping[str, tuple[str, ...]]

# What the pipeline reads from a source, and so what its role must be allowed to read: nothing else.
SOURCE_COLUMNS: Final[Columns] = {
    "organizations": ("id", "name", "time_zone", "deleted_at", "xmin", "tableoid"),
    "workflows": ("id", "organization_id", "name", "deleted_at", "xmin", "tableoid"),
    "clients": ("id", "organization_id", "name", "deleted_at", "xmin", "tableoid"),
    "jobs": (
        *("id", "organization_id", "workflow_id", "client_id", "initiator_type", "status"),
        *("created_at", "started_at", "completed_at", "updated_at", "deleted_at", "xmin", "tableoid"),
    ),
}

# What the metrics of steps read besides, where a source has logs: no message, no metadata.
STEP_SOURCE_COLUMNS: Final[Columns] = {
    "execution_logs": (
        *("id", "organization_id", "job_id", "level", "timestamp", "step_name", "duration_ms"),
        *("xmin", "tableoid"),
    ),
}

# And which months of them were dropped.
MONTHS_COLUMNS: Final[Columns] = {"execution_log_months": ("month_start", "month_end", "dropped_at")}

"""What we know of a job: as the source gives it, and as the facts keep it."""

from enum import StrEnum
from typing import Final

import polars as pl


class Status(StrEnum):
    """The states of a job that the source contract knows."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Gone(StrEnum):
    """Why a job that was counted no longer is."""

    DELETED = "deleted"
    RETRIED = "retried"
    EDITED = "edited"


FINISHED: Final = (Status.COMPLETED, Status.FAILED)
UNFINISHED: Final = (Status.PENDING, Status.RUNNING, Status.CANCELLED)

# In characters, up to four bytes each: a key of PostgreSQL's indexes holds 2,704 bytes.
LONGEST_INITIATOR_TYPE: Final = 500

_TIMESTAMP = pl.Datetime("us", "UTC")

# One finished job; ids are the 16 bytes of their UUID, which hash and compress better than text.
FACT_COLUMNS: Final[dict[str, pl.DataType]] = {
    "job_id": pl.Binary(),
    "organization_id": pl.Binary(),
    "workflow_id": pl.Binary(),
    "client_id": pl.Binary(),
    "initiator_type": pl.String(),
    "status": pl.String(),
    "created_at": _TIMESTAMP,
    "started_at": _TIMESTAMP,
    "completed_at": _TIMESTAMP,
    "row_hash": pl.Int64(),
}

# A row of the source: times that PostgreSQL holds and others cannot (infinity, year 0) arrive as
# NULL beside a flag, and `row_hash` covers every column that can change a cell.
EXTRACTED_COLUMNS: Final[dict[str, pl.DataType]] = FACT_COLUMNS | {
    "deleted": pl.Boolean(),
    "missing_timestamp": pl.Boolean(),
    "infinite_timestamp": pl.Boolean(),
    "timestamp_out_of_range": pl.Boolean(),
    "foreign_workflow": pl.Boolean(),
    "foreign_client": pl.Boolean(),
}

"""Writing a small trace, right or wrong, into a folder."""

import gzip
from collections.abc import Sequence
from pathlib import Path

ORGANIZATION, NEIGHBOUR = "a0000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000002"
WORKFLOW, THEIR_WORKFLOW = "b0000000-0000-4000-8000-000000000001", "b0000000-0000-4000-8000-000000000002"
CLIENT, THEIR_CLIENT = "c0000000-0000-4000-8000-000000000001", "c0000000-0000-4000-8000-000000000002"
JOB, ANOTHER_JOB, THEIR_JOB = (f"d0000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))

# Two tenants with a workflow and a client each; one job finished, one runs, one is the neighbour's.
FILES = {
    "organizations": f"organization_id,name\n{ORGANIZATION},Acme\n{NEIGHBOUR},Neighbour\n",
    "workflows": f"workflow_id,organization_id,name\n{WORKFLOW},{ORGANIZATION},Intake\n"
    f"{THEIR_WORKFLOW},{NEIGHBOUR},Intake\n",
    "clients": f"client_id,organization_id,name\n{CLIENT},{ORGANIZATION},Dr. Who\n"
    f"{THEIR_CLIENT},{NEIGHBOUR},Dr. No\n",
    "jobs": "job_id,organization_id,workflow_id,client_id,initiator_type,status,"
    "created_at,started_at,completed_at,deleted_at\n"
    f"{JOB},{ORGANIZATION},{WORKFLOW},{CLIENT},USER,COMPLETED,"
    "2024-01-31T08:00:00.000Z,2024-01-31T08:00:01.500Z,2024-01-31T08:01:00.000001Z,\n"
    f"{ANOTHER_JOB},{ORGANIZATION},{WORKFLOW},,,RUNNING,2024-01-31T09:00:00.000Z,2024-01-31T09:00:01.000Z,,\n"
    f"{THEIR_JOB},{NEIGHBOUR},{THEIR_WORKFLOW},{THEIR_CLIENT},USER,FAILED,"
    "2024-01-31T10:00:00.000Z,2024-01-31T10:00:01.000Z,2024-01-31T10:00:02.000Z,\n",
}


def write_trace(folder: Path, *, without: Sequence[str] = (), **files: str | bytes) -> Path:
    """Write the small trace, with the files given as text or bytes instead of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, text in (FILES | files).items():
        if table not in without:
            content = text.encode() if isinstance(text, str) else text
            (folder / f"{table}.csv.gz").write_bytes(gzip.compress(content))
    return folder


def edited(table: str, old: str, new: str) -> str:
    """A file of the small trace with one edit."""
    assert old in FILES[table]
    return FILES[table].replace(old, new, 1)

"""For each table of executions a row that is accepted, and what to change in it to break each rule."""

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.support.oracle import ALL, NO_CLIENT
from tests.support.planting import NOON, Tenant, new_id

FEBRUARY = NOON.replace(month=2, day=1)
NOBODY = UUID("00000000-0000-4000-8000-00000000dead")
SHA256 = "0123456789abcdef" * 4

# Two quotes more than its characters.
TOO_LARGE = Jsonb("x" * 1_048_575)

PAYER = {"name": "Aetna", "id": "7", "scenario": "initial"}
RULE = {"ruleId": "1", "ruleType": "age", "condition": "> 65", "action": "ask", "wasUsed": True}
BLOB = {"definition_reference": "somewhere", "definition_size_bytes": 1, "definition_sha256": SHA256}
ARCHIVE = {"archive_reference": "r", "archive_sha256": SHA256, "archived_rows": 1, "archived_at": NOON}

Change = Mapping[str, Any]

RESERVED: list[Change] = [{"id": ALL}, {"id": NO_CLIENT}]

OF_A_JOB = ("execution_logs", "execution_screenshots", "execution_rag_rules", "execution_metadata")


def each(column: str, *values: Any) -> list[Change]:
    """A change for each of these values of a column."""
    return [{column: value} for value in values]


def _misshapen(whole: dict[str, Any], wrong: dict[str, Any]) -> list[Jsonb]:
    parts = [[{key: whole[key] for key in whole if key != name}] for name in whole]
    return [Jsonb(shape) for shape in ({}, None, [[whole]], [whole | wrong], *parts)]


BROKEN: Mapping[str, Mapping[str, list[Change]]] = {
    "organizations": {"id_is_not_reserved": RESERVED},
    "workflows": {
        "organization_exists": [{"organization_id": NOBODY}],
        "id_is_not_reserved": RESERVED,
        "definition_is_at_most_a_mebibyte": [{"definition": TOO_LARGE}],
        "definition_is_in_one_place": [BLOB | {"definition": Jsonb(None)}],
        "definition_reference_is_whole": [
            *({**BLOB, name: None} for name in BLOB),
            {**BLOB, "definition_size_bytes": 0},
            *(BLOB | wrong for wrong in each("definition_sha256", SHA256.upper(), SHA256[1:])),
        ],
    },
    "clients": {
        "organization_exists": [{"organization_id": NOBODY}],
        "id_is_not_reserved": RESERVED,
    },
    "jobs": {
        "id_is_not_reserved": RESERVED,
        "result_is_at_most_a_mebibyte": [{"result": TOO_LARGE}],
        "finished_has_completed_at": [{"status": "COMPLETED"}, {"status": "FAILED"}],
        "initiator_type_is_not_reserved": [{"initiator_type": "all"}],
        "workflow_is_of_the_same_organization": [{"workflow_id": "theirs"}, {"workflow_id": NOBODY}],
        "client_is_of_the_same_organization": [{"client_id": "theirs"}, {"client_id": NOBODY}],
    },
    "execution_logs": {
        "job_is_of_the_same_organization": [{"job_id": "theirs"}, {"job_id": NOBODY}],
        "duration_is_a_number": each("duration_ms", math.nan, math.inf, -math.inf),
        "sequence_is_not_negative": [{"sequence": -1}],
        "timestamp_is_a_moment": each("timestamp", "infinity", "-infinity", "9999-01-01Z", "0001-01-01 BC"),
        "metadata_is_at_most_a_mebibyte": [{"metadata": TOO_LARGE}],
    },
    "execution_log_months": {
        "month_is_a_range": [{"month_end": NOON}],
        "month_was_archived_or_dropped": [{"dropped_at": None}],
        "archive_is_whole": [{**ARCHIVE, name: None} for name in ARCHIVE],
    },
    "execution_screenshots": {
        "job_is_of_the_same_organization": [{"job_id": "theirs"}, {"job_id": NOBODY}],
        "id_is_not_reserved": RESERVED,
        "type_is_known": [{"screenshot_type": "step"}],
        "image_reference_is_whole": [{"image_size_bytes": 0}, *each("image_sha256", SHA256 + "0", "")],
    },
    "execution_rag_rules": {
        "job_is_of_the_same_organization": [{"job_id": "theirs"}, {"job_id": NOBODY}],
        "payers_have_their_shape": each("payers", *_misshapen(PAYER, {"id": 7})),
        "rules_have_their_shape": each("rules", *_misshapen(RULE, {"wasUsed": 1})),
        "payers_is_at_most_a_mebibyte": [{"payers": Jsonb([PAYER | {"name": "x" * 1_048_576}])}],
        "rules_is_at_most_a_mebibyte": [{"rules": Jsonb([RULE | {"more": "x" * 1_048_576}])}],
    },
    "execution_metadata": {"job_exists": [{"job_id": NOBODY}]},
    "execution_metadata_syncs": {"organization_exists": [{"organization_id": NOBODY}]},
    "phi_access_log": {"access_is_explained": [{"accessed_by": ""}, {"purpose": ""}]},
}


def accepted(table: str, tenant: Tenant, job: UUID) -> dict[str, Any]:
    """A row that every rule of its table accepts, about that job where it is about one."""
    return {
        "organizations": {"name": "Acme"},
        "workflows": {"name": "Intake"},
        "clients": {"name": "Clinic"},
        "jobs": {"workflow_id": tenant.workflows[0], "status": "PENDING"},
        "execution_logs": {"sequence": 0, "level": "INFO"},
        "execution_log_months": {"month_start": NOON, "month_end": FEBRUARY, "dropped_at": NOON},
        "execution_screenshots": {
            "screenshot_type": "STEP",
            "captured_at": NOON,
            "image_reference": "somewhere",
            "image_size_bytes": 1,
            "image_sha256": SHA256,
        },
        "execution_rag_rules": {"payers": Jsonb([PAYER]), "rules": Jsonb([RULE])},
        "execution_metadata": {
            "workflow_id": tenant.workflows[0],
            "workflow_name": "Intake",
            "client_id": tenant.clients[0],
            "status": "PENDING",
            "created_at": NOON,
            "last_synced_at": NOON,
        },
        "execution_metadata_syncs": {"horizon": 1, "server": 1, "synced_at": NOON},
        "phi_access_log": {"accessed_by": "me", "accessed": "jobs.result", "purpose": "care"},
    }[table] | _owner(table, tenant, job)


def _owner(table: str, tenant: Tenant, job: UUID) -> dict[str, Any]:
    """The organization of a row, and its id where that is given."""
    if table == "execution_log_months":
        return {}
    if table == "organizations":
        return {"id": new_id()}
    whose = {"organization_id": tenant.organization}
    if table in ("workflows", "clients", "jobs"):
        return whose | {"id": new_id()}
    return whose | {"job_id": job} if table in OF_A_JOB else whose

"""Where a page of stored rows ends, as text that the next request brings back."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema

from pipelines.api.moments import moment
from pipelines.calendars.moments import instant_of
from pipelines.query.metrics import Place
from pipelines.query.records import MetricRow
from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT


def after(row: MetricRow) -> str:
    """The text for the place of a row."""
    key = (
        row.period_start.isoformat(),
        str(row.workflow_id or ALL_WORKFLOWS),
        str(NO_CLIENT if row.has_no_client else row.client_id or ALL_CLIENTS),
        row.initiator_type or ALL_INITIATORS,
    )
    return urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def place(text: Any) -> Place:
    """Read what `after` wrote; raises ValueError."""
    try:
        padded = str(text) + "=" * (-len(str(text)) % 4)
        start, workflow, client, initiator = json.loads(urlsafe_b64decode(padded.encode("ascii")))
        begun = instant_of(moment(start))
        if begun is None or "\0" in initiator or not initiator.encode():
            raise ValueError
        found = begun, UUID(workflow), UUID(client), str(initiator)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("Input is not the `next` of an earlier answer") from None
    return found


After = Annotated[
    Place,
    BeforeValidator(place),
    WithJsonSchema({"type": "string", "description": "The `next` of the answer before this one."}),
]

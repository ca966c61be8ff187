"""Telling the world outside that a step failed, by a webhook."""

import json
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Final
from urllib.request import Request, urlopen

from pipelines.errors import WebhookRefused
from pipelines.settings import Settings

_PATIENCE_S: Final = 10


@dataclass(frozen=True)
class FailedStep:
    """What is sent, as a JSON object: no values of rows, and a message only when it is one of ours."""

    run_id: str
    job: str
    step: str
    error: str
    message: str


def send(settings: Settings, failed: FailedStep) -> bool:
    """POST it to the webhook, if there is one, and say so; raises `WebhookRefused`."""
    if settings.webhook_url is None:
        return False
    try:
        # Whoever knows the URL can post there, so no exception that names it may leave here.
        request = Request(
            settings.webhook_url.get_secret_value(),
            data=json.dumps(asdict(failed)).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=_PATIENCE_S):
            return True
    except (OSError, HTTPException, ValueError) as refused:
        raise WebhookRefused(f"({type(refused).__name__})") from None

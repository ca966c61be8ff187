"""Telling the world outside that a step failed, by a webhook."""

import json
from dataclasses import asdict, dataclass
from typing import Final
from urllib.request import Request, urlopen

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
    """POST it to the webhook, if there is one, and say so; raises `OSError` when it does not answer."""
    if settings.webhook_url is None:
        return False
    request = Request(
        settings.webhook_url.get_secret_value(),
        data=json.dumps(asdict(failed)).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=_PATIENCE_S):
        return True

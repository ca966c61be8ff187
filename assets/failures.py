"""What happens when a step fails: it is tried again, and then somebody is told."""

import json
from http.client import HTTPException
from typing import Final
from urllib.request import Request, urlopen

import dagster as dg

from pipelines.errors import ExecutionMetricsError, WebhookRefused
from pipelines.settings import Settings, load_settings

# A database that restarts is back within a minute or two; the jitter keeps two runs from meeting again.
RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


# In the metadata of a failure: which kind of error it was.
ERROR: Final = "error"

_PATIENCE_S: Final = 10


@dg.failure_hook
def call_webhook(context: dg.HookContext) -> None:
    """Call EXECMETRICS_WEBHOOK_URL, if it is set, when a step has failed for good."""
    error, message = _told(context.op_exception)
    failed = {"run_id": context.run_id, "job": context.job_name, "step": context.op.name, "error": error}
    try:
        _send(load_settings(), failed | {"message": message})
    except ExecutionMetricsError as untold:
        context.log.warning(str(untold))


def _send(settings: Settings, failed: dict[str, str]) -> None:
    """POST a JSON object to the webhook, if there is one; raises `WebhookRefused`."""
    if settings.webhook_url is None:
        return
    try:
        # The URL lets anybody post there, so no exception that names it may leave here.
        request = Request(
            settings.webhook_url.get_secret_value(),
            data=json.dumps(failed).encode(),
            headers={"Content-Type": "application/json"},
        )
        urlopen(request, timeout=_PATIENCE_S).close()
    except (OSError, HTTPException, ValueError) as refused:
        raise WebhookRefused(f"({type(refused).__name__})") from None


def _told(failure: BaseException | None) -> tuple[str, str]:
    """The kind of error, and its sentence if it is one of ours: the words of a driver may quote rows."""
    kind = type(failure).__name__
    if isinstance(failure, dg.Failure):
        named = failure.metadata.get(ERROR)
        return str(named.value) if named else kind, failure.description or ""
    return kind, str(failure) if isinstance(failure, ExecutionMetricsError) else ""

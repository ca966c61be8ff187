"""What happens when a step fails: it is tried again, and then a webhook is called."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Final
from urllib.request import Request, urlopen

import dagster as dg

from pipelines.errors import (
    AnotherRunHoldsTheLock,
    DatabaseUnreachable,
    ExecutionMetricsError,
    StoreUnreachable,
    UsageError,
    WebhookRefused,
    is_failure,
)
from pipelines.postgres.failures import meaning_of
from pipelines.settings import Settings, load_settings

# A database that restarts is back within a minute or two; the jitter keeps two runs from meeting again.
RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

# In the metadata of a failure: which kind of error it was.
_ERROR: Final = "error"

# These end by themselves, so another try may succeed.
_PASSING = (DatabaseUnreachable, StoreUnreachable, AnotherRunHoldsTheLock)

_PATIENCE_S: Final = 10


@dg.failure_hook
def call_webhook(context: dg.HookContext) -> None:
    """Call EXECMETRICS_WEBHOOK_URL, if it is set, when a step has failed for good."""
    failure = context.op_exception
    # The kind of error, and its sentence if it is one of ours: the words of a driver may quote rows.
    error, message = type(failure).__name__, ""
    if isinstance(failure, dg.Failure):
        named = failure.metadata.get(_ERROR)
        error, message = str(named.value) if named else error, failure.description or ""
    elif isinstance(failure, ExecutionMetricsError):
        message = str(failure)
    try:
        step = {"run_id": context.run_id, "job": context.job_name, "step": context.op.name}
        _send(load_settings(), step | {"error": error, "message": message})
    except ExecutionMetricsError as refused:
        context.log.warning(str(refused))


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


@contextmanager
def named_failures() -> Iterator[None]:
    """Show our sentence and never a driver's words, and do not try again what only a person can put right."""
    try:
        yield
    except dg.Failure:
        raise
    except BaseException as failure:
        if not is_failure(failure):
            raise
        meant = failure if isinstance(failure, ExecutionMetricsError) else meaning_of(failure)
        kind = {_ERROR: type(meant or failure).__name__}
        if meant:
            hopeless = isinstance(meant, UsageError) and not isinstance(meant, _PASSING)
            raise dg.Failure(str(meant), metadata=kind, allow_retries=not hopeless) from None
        where = "".join(traceback.format_tb(failure.__traceback__)[-3:])
        sentence = f"An unexpected {type(failure).__name__}."
        raise dg.Failure(sentence, metadata=kind | {"where": where}) from None

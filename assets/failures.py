"""What happens when a step fails: it is tried again, and then somebody is told."""

from typing import Final

import dagster as dg

from pipelines.errors import ExecutionMetricsError
from pipelines.runs.webhook import FailedStep, send
from pipelines.settings import load_settings

# A database that restarts is back within a minute or two; the jitter keeps two runs from meeting again.
RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


# In the metadata of a failure: which kind of error it was.
ERROR: Final = "error"


@dg.failure_hook
def call_webhook(context: dg.HookContext) -> None:
    """Call EXECMETRICS_WEBHOOK_URL, if it is set, when a step has failed for good."""
    error, message = _told(context.op_exception)
    step = FailedStep(context.run_id, context.job_name, context.op.name, error, message)
    try:
        send(load_settings(), step)
    except ExecutionMetricsError as untold:
        context.log.warning(str(untold))


def _told(failure: BaseException | None) -> tuple[str, str]:
    """The kind of error, and its sentence if it is one of ours: the words of a driver may quote rows."""
    kind = type(failure).__name__
    if isinstance(failure, dg.Failure):
        named = failure.metadata.get(ERROR)
        return str(named.value) if named else kind, failure.description or ""
    return kind, str(failure) if isinstance(failure, ExecutionMetricsError) else ""

"""What happens when a step fails: it is tried again, and then somebody is told."""

import dagster as dg

from pipelines.errors import ExecutionMetricsError
from pipelines.settings import load_settings
from pipelines.webhook import FailedStep, send

# A database that restarts is back within a minute or two; the jitter keeps two runs from meeting again.
RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


@dg.failure_hook
def call_webhook(context: dg.HookContext) -> None:
    """Call EXECMETRICS_WEBHOOK_URL, if it is set, when a step has failed for good."""
    failure = context.op_exception
    if isinstance(failure, dg.Failure):
        failure = failure.__cause__ or failure
    step = FailedStep(
        run_id=context.run_id,
        job=context.job_name,
        step=context.op.name,
        error=type(failure).__name__,
        # The words of a driver may quote rows.
        message=str(failure) if isinstance(failure, (ExecutionMetricsError, dg.Failure)) else "",
    )
    try:
        send(load_settings(), step)
    except ExecutionMetricsError as untold:
        context.log.warning(str(untold))

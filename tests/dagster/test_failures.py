"""When a step fails for good, the webhook is called: once, and without anything that is private."""

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import dagster as dg
import polars as pl
import psycopg
import pytest

from assets import failures
from pipelines.postgres.statements import statement
from tests.support.dagster_runs import Result, backfill_run, checks_run, refresh_run, said, tries
from tests.support.pipeline import Pipeline
from tests.support.planting import NOON


class Webhook(ThreadingHTTPServer):
    """A server that keeps what is posted to it, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.received: list[dict[str, Any]] = []
        self.answer = 204

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/s3cr3t"


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        """Say nothing."""


@pytest.fixture
def webhook(configured: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A webhook that the environment names."""
    with Webhook() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        configured.setenv("EXECMETRICS_WEBHOOK_URL", server.url)
        yield server
        server.shutdown()


def test_a_failed_run_of_the_job_calls_the_webhook(webhook: Webhook, pipeline: Pipeline) -> None:
    """One message says which run, job and step failed, and why; skipped steps are silent."""
    pipeline.plant_job(pipeline.plant_tenant())

    result = refresh_run(NOON, run_config=for_one("Acme"))

    assert not result.success
    assert webhook.received == [
        {
            "run_id": result.run_id,
            "job": "refresh",
            "step": "job_facts",
            "error": "InvalidOrganization",
            "message": "An organization is named by its UUID, 8-4-4-4-12 hexadecimal digits."
            " (organization_ids)",
        }
    ]


def test_a_panic_fails_the_step_alone() -> None:
    """It is named like any other failure, which is tried again; it does not end the process of the run."""
    with pytest.raises(dg.Failure, match="failed inside") as failed, failures.named_failures():
        raise pl.exceptions.PanicException("no")

    assert failed.value.metadata["error"].value == "EngineFailed"
    assert failed.value.allow_retries


def test_a_backfill_without_tables_fails_at_once(webhook: Webhook, pipeline: Pipeline) -> None:
    """The sentence names the command that makes the tables, and no second try is made.

    What is launched from the asset page has no job of ours, and is reported all the same.
    """
    pipeline.analytics.execute("DROP SCHEMA analytics CASCADE")

    result = backfill_run(NOON, NOON)

    assert said(result) == ["The database has no up-to-date tables of ours; run `execmetrics migrate` first."]
    assert tries(result, "job_facts") == 1
    assert [(told["run_id"], told["step"], told["error"]) for told in webhook.received] == [
        (result.run_id, "job_facts", "SchemaMissing")
    ]


def test_a_failed_check_calls_the_webhook(webhook: Webhook, pipeline: Pipeline) -> None:
    """Figures that do not add up are worse than none: the run fails and somebody hears of it.

    Of the run that succeeded before, nobody does.
    """
    pipeline.plant_pair()
    assert refresh_run(NOON).success
    pipeline.analytics.execute(
        "DELETE FROM analytics.aggregate_metrics"
        " WHERE ctid = (SELECT min(ctid) FROM analytics.aggregate_metrics WHERE initiator_type = 'USER')"
    )

    result = checks_run("parts_add_up_to_the_whole")

    assert not result.success
    assert [told["step"] for told in webhook.received] == ["aggregate_metrics_parts_add_up_to_the_whole"]


@pytest.mark.usefixtures("impatient")
def test_a_step_that_is_tried_again_is_not_reported(
    webhook: Webhook, configured: pytest.MonkeyPatch, pipeline: Pipeline
) -> None:
    """A run that waited too long for another does the work once that has ended, and wakes nobody."""
    pipeline.plant_job(pipeline.plant_tenant())
    configured.setenv("EXECMETRICS_LOCK_TIMEOUT", "1 second")
    other = psycopg.connect(pipeline.source.info.dsn, autocommit=True)
    other.execute(statement("state/lock"))
    configured.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: other.close() or 0)  # noqa: ARG005

    result = refresh_run(NOON)

    assert (result.success, tries(result, "job_facts")) == (True, 2)
    assert len(pipeline.cells()) == 27
    assert webhook.received == []


@pytest.mark.usefixtures("impatient")
def test_a_step_that_used_up_its_tries_is_reported_once(
    webhook: Webhook, configured: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    """The third failure is told, with the place; the password is in no event and not in the message."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        configured.setenv("EXECMETRICS_DATABASE_URL", f"postgresql://me:geheim@127.0.0.1:{port}/metrics")

        result = refresh_run(NOON, instance=instance)

    assert tries(result, "job_facts") == 3
    (sentence,) = said(result)
    assert sentence.startswith("The database does not answer or lets nobody in; check the URL")
    assert f"(postgresql://me:***@127.0.0.1:{port}/metrics: " in sentence
    assert sentence.endswith("Connection refused)")
    assert [told["error"] for told in webhook.received] == ["DatabaseUnreachable"]
    events = [dg.serialize_value(entry) for entry in instance.all_logs(result.run_id)]
    assert "geheim" not in json.dumps([*events, *webhook.received])


@pytest.mark.usefixtures("impatient")
def test_the_words_of_a_database_stay_with_it(webhook: Webhook, pipeline: Pipeline) -> None:
    """An error of the driver quotes rows; the webhook and the run's log get its name and whose it was."""
    tenant = pipeline.plant_tenant()
    pipeline.plant_job(tenant)
    pipeline.analytics.execute(
        "ALTER TABLE analytics.aggregate_metrics ADD CONSTRAINT refused"
        f" CHECK (organization_id <> '{tenant.organization}')"
    )

    result = refresh_run(NOON)

    assert not result.success
    assert [(told["step"], told["error"]) for told in webhook.received] == [
        ("aggregate_metrics", "TooManyFailures")
    ]
    assert webhook.received[0]["message"].endswith(f"(jobs of 1 of 1: {tenant.organization} CheckViolation)")
    logged = "".join(str(event.event_specific_data) for event in result.all_events)
    assert "CheckViolation" in logged
    assert "violates" not in logged + json.dumps(webhook.received)
    assert "Failing row" not in logged + json.dumps(webhook.received)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/s3cr3t", "s3cr3t", "http://[s3cr3t", "http://127.0.0.1:s3cr3t/"]
)
def test_a_webhook_that_is_not_there_changes_nothing(
    url: str, configured: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    """The run ends as it would have, a line in its log says so, and the URL is a secret."""
    configured.setenv("EXECMETRICS_WEBHOOK_URL", url)

    result = refresh_run(NOON, run_config=for_one("Acme"), instance=instance)

    ended_as_ever(result, instance)


def test_a_webhook_that_refuses_changes_nothing(webhook: Webhook, instance: dg.DagsterInstance) -> None:
    """An answer that is no success is a line in the run's log."""
    webhook.answer = 500

    result = refresh_run(NOON, run_config=for_one("Acme"), instance=instance)

    assert len(webhook.received) == 1
    ended_as_ever(result, instance)


def test_a_failed_tidying_calls_the_webhook(webhook: Webhook, pipeline: Pipeline) -> None:
    """The weekly job is reported too."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.refresh()
    pipeline.source.execute("DROP SCHEMA analytics CASCADE")

    from assets.definitions import defs

    result = defs.resolve_job_def("tidy_job_facts").execute_in_process(raise_on_error=False)

    assert not result.success
    assert [told["step"] for told in webhook.received] == ["tidy"]


def for_one(organization_id: str) -> dict[str, Any]:
    """A configuration of both assets for one organization."""
    config = {"mode": "refresh", "organization_ids": [organization_id]}
    return {"ops": {asset: {"config": config} for asset in ("job_facts", "aggregate_metrics")}}


def ended_as_ever(result: Result, instance: dg.DagsterInstance) -> None:
    """The run failed for its own reason, and the hook did its part without failing itself."""
    events = [dg.serialize_value(entry) for entry in instance.all_logs(result.run_id)]
    assert instance.get_run_by_id(result.run_id).status is dg.DagsterRunStatus.FAILURE
    assert "HOOK_ERRORED" not in "".join(events)
    assert "The webhook did not take the message" in "".join(events)
    assert "s3cr3t" not in "".join(events)

"""A Dagster as it is deployed: webserver and daemon on our workspace.yaml, spoken to by GraphQL."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.places import ROOT

# The daemon looks for backfills every 30 seconds; a test would rather not wait.
DAEMON = (
    "from dagster._daemon import controller; controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1;"
    "from dagster._daemon.cli import cli; cli(['run'])"
)
READY_S, DONE_S = 90, 120


@dataclass(frozen=True)
class Deployment:
    """A running Dagster."""

    port: int

    def ask(self, query: str, **variables: Any) -> Any:
        """Send one GraphQL query, and give its only answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        (only,) = answer["data"].values()
        return only

    def backfill(self, assets: Sequence[str], days: Sequence[str], run_config: Mapping[str, Any]) -> str:
        """Launch a backfill as the asset page does, wait for its end, and give its id."""
        selection = [{"path": [asset]} for asset in assets]
        asked = {"assetSelection": selection, "partitionNames": list(days), "runConfigData": run_config}
        backfill_id = self.ask(
            "mutation($it: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $it) {"
            " __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            it=asked,
        )["backfillId"]
        deadline = time.monotonic() + DONE_S
        while time.monotonic() < deadline:
            now = self.ask(
                "query($id: String!) { partitionBackfillOrError(backfillId: $id) {"
                " ... on PartitionBackfill { status error { message } } ... on PythonError { message } } }",
                id=backfill_id,
            )
            if now["status"] == "COMPLETED_SUCCESS":
                return backfill_id
            failures = (self._failures_of(run["runId"]) for run in self._runs(backfill_id))
            assert now["status"] in ("REQUESTED", "COMPLETING"), (now, *failures)
            time.sleep(0.3)
        raise AssertionError(f"The backfill is still {now['status']}.")

    def run(self, job: str, days: Sequence[str], run_config: Mapping[str, Any]) -> None:
        """Launch a job as the schedule does for some days, and wait until it has succeeded."""
        place = {"repositoryLocationName": "execution-metrics", "repositoryName": "__repository__"}
        ends = {"start": days[0], "end": days[-1]}
        tags = [{"key": f"dagster/asset_partition_range_{end}", "value": day} for end, day in ends.items()]
        asked = {"selector": place | {"jobName": job}, "runConfigData": run_config}
        launched = self.ask(
            "mutation($it: ExecutionParams!) { launchRun(executionParams: $it) {"
            " __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            it=asked | {"executionMetadata": {"tags": tags}},
        )
        run_id, deadline = launched["run"]["runId"], time.monotonic() + DONE_S
        status = ""
        while time.monotonic() < deadline and status not in ("SUCCESS", "FAILURE", "CANCELED"):
            time.sleep(0.3)
            asked = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
            status = self.ask(asked, id=run_id)["status"]
        assert status == "SUCCESS", self._failures_of(run_id)

    def runs_of(self, backfill_id: str) -> list[dict[str, str]]:
        """The tags of each run that a backfill has made, the oldest first."""
        found = self._runs(backfill_id)
        assert {run["status"] for run in found} == {"SUCCESS"}
        found.sort(key=lambda run: run["creationTime"])
        return [{tag["key"]: tag["value"] for tag in run["tags"]} for run in found]

    def _runs(self, backfill_id: str) -> list[dict[str, Any]]:
        return self.ask(
            "query($tag: ExecutionTag!) { runsOrError(filter: {tags: [$tag]}) {"
            " ... on Runs { results { runId status creationTime tags { key value } } } } }",
            tag={"key": "dagster/backfill", "value": backfill_id},
        )["results"]

    def _failures_of(self, run_id: str) -> Any:
        """What the steps said that failed."""
        return self.ask(
            "query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {"
            " ... on ExecutionStepFailureEvent { stepKey"
            " error { message errorChain { error { message } } } } } } } }",
            id=run_id,
        )["events"]


@contextmanager
def deployed(home: Path, environment: Mapping[str, str]) -> Iterator[Deployment]:
    """Start both processes with a Dagster home of their own, and end everything that they started."""
    home.mkdir()
    shutil.copyfile(ROOT / "deploy" / "development" / "dagster.yaml", home / "dagster.yaml")
    environment = os.environ | {"DAGSTER_HOME": str(home), "DAGSTER_EVENT_BATCH_SIZE": "1000"} | environment
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    with ExitStack() as processes:
        log = processes.enter_context((home / "servers.log").open("wb"))
        webserver = processes.enter_context(running(server, environment, log))
        deployment = Deployment(port)
        _wait_for(deployment, webserver, home / "servers.log")
        processes.enter_context(running(["-c", DAEMON], environment, log))
        yield deployment


@contextmanager
def running(
    arguments: Sequence[str], environment: Mapping[str, str], log: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program with a log, and end it with everything that it started."""
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(tree, timeout=10)
        for survivor in alive:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        process.wait()


def _wait_for(deployment: Deployment, webserver: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the webserver has loaded the definitions."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and webserver.poll() is None:
        with suppress(OSError):
            asked = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
            if deployment.ask(asked).get("nodes"):
                return
        time.sleep(0.3)
    raise AssertionError(log.read_text(errors="replace"))

"""The commands `serve` and `token`: a real process, on a real port, that ends when it is told to."""

import json
import re
import select
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from uuid import UUID

import psutil
import psycopg
import pytest

from pipelines.api.auth import trusting
from pipelines.cli.main import main
from pipelines.postgres import embedded as embedded_postgres
from tests.postgres.api.conftest import AUDIENCE, NAMES, SECRET, Api
from tests.postgres.cli.conftest import server_processes, started
from tests.support.planting import new_id

# As who the API is connected, and whether that one may do anything.
READERS = """
    SELECT usename, rolsuper OR rolbypassrls FROM pg_stat_activity JOIN pg_roles ON rolname = usename
    WHERE application_name = 'execmetrics serve'
"""

ADDRESS = re.compile(r"API: (http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)\n")


def test_it_serves_until_it_is_told_to_stop(embedded_home: Path) -> None:
    """At the printed address, over an embedded database where none is set; nothing is left behind.

    That one is entered as a role that may only read, the first time and whenever it is served again.
    """
    secret = {"EXECMETRICS_API_SECRET": SECRET}
    with started(embedded_home, "serve", "--port", "0", env=secret) as process:
        address = ADDRESS.fullmatch(process.stdout.readline()).group(1)
        with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:
            assert json.load(answer) == {"status": "up"}
            assert "server" not in answer.headers
        with started(embedded_home, "serve", "--port", "0", env=secret) as second:
            assert ADDRESS.fullmatch(second.stdout.readline())
            with embedded_postgres.running(embedded_home) as url, psycopg.connect(url) as admin:
                readers = admin.execute(READERS).fetchall()
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=30)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)

    assert process.returncode == 128 + signal.SIGTERM
    assert said == ""
    assert set(readers) == {("dashboard_reader", False)}
    assert [member for member in family if member.is_running()] == []
    assert not server_processes(embedded_home)


def test_trying_it_out_needs_nothing(shared: Api, tmp_path: Path) -> None:
    """`--dev` prints for each organization its page and what asks for it, ready to be pasted; Ctrl-C ends it.

    The secret is made up for this process, so another server believes none of it.
    """
    database = {"EXECMETRICS_DATABASE_URL": shared.url}
    with started(tmp_path, "serve", "--dev", "--port", "0", env=database) as process:
        address = ADDRESS.fullmatch(process.stdout.readline()).group(1)
        dashboard = process.stdout.readline()
        lines = [process.stdout.readline() for _ in range(4 * len(NAMES))]
        links, invited = lines[2::4], dict(zip(lines[1::4], lines[3::4], strict=True))
        with urllib.request.urlopen(dashboard.removeprefix("Dashboard: "), timeout=10) as answer:
            page = answer.read().decode()
        shown = [subprocess.run(line, shell=True, capture_output=True) for line in invited.values()]
        elsewhere = [
            shared.client.get(path, headers=headers) for path, headers in map(asked, invited.values())
        ]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)

    assert (process.returncode, said) == (128 + signal.SIGINT, "")
    assert list(invited) == [f"{name}:\n" for name in reversed(NAMES)]
    assert (dashboard, "<title>Execution metrics</title>" in page) == (f"Dashboard: {address}/\n", True)
    # The page sends the token that its link has, so each link works as the command below it does.
    tokens = [asked(line)[1]["Authorization"].removeprefix("Bearer ") for line in invited.values()]
    assert links == [f"{address}/#token={token}\n" for token in tokens]
    assert [json.loads(each.stdout)["time_zone"] for each in shown] == ["UTC"] * 3
    assert [each.status_code for each in elsewhere] == [401] * 3


@pytest.mark.parametrize("may_write", [True, False])
def test_a_role_that_may_write_is_warned_of(shared: Api, tmp_path: Path, may_write: bool) -> None:
    """Once, in one sentence that names the setting; of a role as `execmetrics grants` has it, no word."""
    settings = {"EXECMETRICS_DATABASE_URL": shared.url, "EXECMETRICS_API_SECRET": SECRET}
    if not may_write:
        settings["EXECMETRICS_READER_URL"] = shared.reader_url
    with started(tmp_path, "serve", "--port", "0", env=settings) as process:
        address = ADDRESS.fullmatch(process.stdout.readline()).group(1)
        with urllib.request.urlopen(f"{address}/readyz", timeout=10) as answer:
            assert json.load(answer) == {"status": "ready"}
        spoke = may_write and select.select([process.stderr], [], [], 30)[0]
        warned = process.stderr.readline() if spoke else ""
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)

    assert (warned.count("."), said) == (may_write, "")
    assert ("EXECMETRICS_READER_URL" in warned) == may_write


def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch, shared: Api, capsys) -> None:
    """Before anything is served, in a sentence; and an address that is not this machine's."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", shared.url)
    monkeypatch.setenv("EXECMETRICS_API_SECRET", SECRET)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        codes = [
            main(["serve", "--port", str(taken.getsockname()[1])]),
            main(["serve", "--port", "0", "--host", "192.0.2.1"]),
            main(["serve", "--port", "0", "--host", "no.such.host.invalid"]),
        ]

    said = capsys.readouterr()
    assert codes == [2, 2, 2]
    first, *others = said.err.splitlines()
    assert "choose another with --port" in first
    assert [line.partition(";")[0] for line in others] == ["No server can listen on that address"] * 2
    assert said.out == ""


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "Nothing says which tokens are to be believed"),
        ({"EXECMETRICS_API_SECRET": "sesame"}, "EXECMETRICS_API_SECRET"),
        ({"EXECMETRICS_API_JWKS_URL": "ftp://sesame"}, "EXECMETRICS_API_JWKS_URL"),
        ({"EXECMETRICS_API_SECRET": SECRET, "EXECMETRICS_READER_URL": "sesame"}, "EXECMETRICS_READER_URL"),
    ],
)
def test_it_does_not_begin_without_anybody_to_trust(
    monkeypatch: pytest.MonkeyPatch, shared: Api, capsys, settings: dict[str, str], sentence: str
) -> None:
    """No secret, one to be guessed, keys from anywhere: one sentence, exit code 2, no value repeated."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", shared.url)
    for name, given in settings.items():
        monkeypatch.setenv(name, given)
    # Should it begin all the same, it fails there instead of serving for ever.
    monkeypatch.setattr("pipelines.api.serving.socket.create_server", None)

    code = main(["serve", "--port", "0"])

    said = capsys.readouterr()
    assert code == 2
    assert sentence in said.err
    assert "sesame" not in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_token_is_printed_for_an_organization(monkeypatch: pytest.MonkeyPatch, shared: Api, capsys) -> None:
    """On stdout alone, for the audience that is set, and the API believes it."""
    monkeypatch.setenv("EXECMETRICS_API_SECRET", SECRET)
    organization = shared.tenants[1].organization

    code = main(["token", "--organization", str(organization), "--hours", "1"])

    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    token = said.out.removesuffix("\n")
    assert trusting(SECRET, AUDIENCE).organization_of(token) == organization
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", shared.url)
    assert main(["token", "--organization", NAMES[1]]) == 0
    assert trusting(SECRET, AUDIENCE).organization_of(capsys.readouterr().out.strip()) == organization
    as_bearer = {"Authorization": f"Bearer {token}"}
    assert shared.ask(shared.tenants[1], "completeness", headers=as_bearer).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "secret", "sentence"),
    [
        (["--organization", str(new_id())], None, "EXECMETRICS_API_SECRET, which is not set."),
        (["--organization", "acme"], SECRET, "No such organization in the source or in the aggregates"),
        ([], SECRET, "Missing option '--organization'"),
        (["--organization", str(UUID(int=7)), "--hours", "0"], SECRET, "Invalid value for '--hours'"),
    ],
)
def test_a_token_that_cannot_be_signed_is_not_printed(
    monkeypatch: pytest.MonkeyPatch,
    shared: Api,
    capsys,
    arguments: list[str],
    secret: str | None,
    sentence: str,
) -> None:
    """One sentence and exit code 2."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", shared.url)
    if secret:
        monkeypatch.setenv("EXECMETRICS_API_SECRET", secret)

    code = main(["token", *arguments])

    said = capsys.readouterr()
    assert code == 2
    assert sentence in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_without_its_packages_the_command_says_which(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The pipeline alone does not need a web framework, and `serve` asks for it in a sentence."""
    monkeypatch.setitem(__import__("sys").modules, "pipelines.api.app", None)

    assert main(["serve"]) == 2
    assert "The HTTP API needs the packages of the extra `api`" in capsys.readouterr().err


def asked(line: str) -> tuple[str, dict[str, str]]:
    """The path and the header of a printed line."""
    token, path = re.fullmatch(r"curl -H 'Authorization: (.+)' http://[^/]+(/\S+)\n", line).groups()
    return path, {"Authorization": token}

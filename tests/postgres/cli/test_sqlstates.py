"""Whatever a server refuses with is a sentence: what it means, what the server said, and nobody's row."""

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import Connection

from tests.postgres.cli.conftest import Execmetrics
from tests.support.planting import plant_job, plant_tenant

# At least one of each class that a user, an administrator or a machine can cause.
STATES = {
    "08006": "does not answer",
    "0A000": "without a pooler",
    "22012": "could not compute",
    "22P02": "could not compute",
    "23514": "could not compute",
    "25006": "lets nobody write",
    "25P03": "does not answer",
    "28000": "execmetrics grants",
    "28P01": "execmetrics grants",
    "3D000": "does not answer",
    "3F000": "execmetrics doctor",
    "40001": "run again",
    "40P01": "run again",
    "42501": "execmetrics doctor",
    "42601": "execmetrics doctor",
    "42704": "execmetrics doctor",
    "42883": "execmetrics doctor",
    "42P01": "execmetrics doctor",
    "53100": "no room left",
    "53200": "no room left",
    "53300": "no room left",
    "53400": "no room left",
    "54000": "larger than the server allows",
    "54001": "larger than the server allows",
    "55006": "was in the way",
    "55P03": "was in the way",
    "57014": "was cancelled",
    "57P01": "does not answer",
    "57P03": "does not answer",
    "58000": "server itself failed",
    "58P01": "server itself failed",
    "P0001": "could not compute",
    "XX000": "server itself failed",
}


@pytest.fixture
def failing(source: Connection) -> Callable[[str], None]:
    """A function that has whoever reads the organizations of a source fail with an SQLSTATE."""
    plant_job(source, plant_tenant(source))

    def fail(state: str) -> None:
        source.execute(
            "CREATE OR REPLACE FUNCTION public.fails() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'Müller cannot be \"s3cret\"' USING ERRCODE = '{state}'; END $$"
        )

    fail("P0001")
    source.execute("ALTER TABLE orchestration.organizations ENABLE ROW LEVEL SECURITY")
    source.execute("ALTER TABLE orchestration.organizations FORCE ROW LEVEL SECURITY")
    source.execute("CREATE POLICY fails ON orchestration.organizations USING (public.fails())")
    return fail


@pytest.mark.parametrize("state", STATES)
def test_a_refusal_of_the_source_is_a_sentence(
    failing: Callable[[str], None], execmetrics: Execmetrics, state: str
) -> None:
    """By its SQLSTATE, whatever language it is in."""
    failing(state)

    ended = execmetrics("refresh")

    assert ended.exit_code in (1, 2, 130)
    assert STATES[state] in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_what_the_server_said_is_told_without_what_a_row_holds(
    failing: Callable[[str], None], execmetrics: Execmetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it names a relation or a role, all of it; where it quotes values, without those.

    Nothing of a sentence that the source's own functions have written.
    """
    said = {}
    for state in ("22P02", "P0001", "58000"):
        failing(state)
        said[state] = execmetrics("refresh").stderr
    monkeypatch.setenv("EXECMETRICS_DEBUG", "1")
    chain = execmetrics("refresh").stderr

    assert "Müller cannot be …" in said["22P02"]
    assert "(…)" in said["P0001"]
    assert 'Müller cannot be "s3cret"' in said["58000"]
    assert "Traceback" in chain
    assert chain.splitlines()[-1] == said["58000"].strip()


def test_a_refused_session_is_told_with_the_servers_words(
    execmetrics: Execmetrics, source: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A database or a role that is not there is named by the server, the password by nobody."""
    address = source.info.host
    urls = {
        'database "nowhere" does not exist': f"postgresql://me:s3cret@/nowhere?host={address}&user=execmetrics",
        'role "nobody" does not exist': f"postgresql://nobody:s3cret@/postgres?host={address}",
        "No such file or directory": f"postgresql://me:s3cret@/jobs?host={tmp_path}",
    }
    for words, url in urls.items():
        monkeypatch.setenv("EXECMETRICS_DATABASE_URL", url)
        for command in ("status", "refresh"):
            ended = execmetrics(command)

            assert ended.exit_code == 2
            assert words in ended.stderr
            assert "s3cret" not in ended.stderr

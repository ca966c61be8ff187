"""The demo tells its story from a fresh home, and ends by itself."""

import re
from pathlib import Path

import dagster as dg
from psycopg import Connection

from tests.postgres.cli.conftest import Execmetrics, server_processes, started
from tests.support.planting import plant_job, plant_tenant
from tests.support.sampling import EVERYTHING


def test_the_demo_shows_the_bad_deployment_and_does_so_again(embedded_home: Path) -> None:
    """Both runs verify every figure and say the same; the second finds its month and writes nothing.

    Afterwards Dagster shows every day of the month as materialized. A sample has the first run alone.
    """
    shown = []
    for _ in range(2 if EVERYTHING else 1):
        with started(embedded_home, "demo", "--jobs", "30000") as process:
            stdout, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        shown.append(re.sub(r"\(.*[0-9.]+ s\)", "", stdout))

    first, *again = (text.splitlines() for text in shown)
    assert "Generated 29,988 jobs of 24 organizations" in first[0]
    for found, wrote, *others in again:
        assert "Found 29,988 jobs of 24 organizations" in found
        assert "Dagster wrote 0 of " in wrote
        assert others == first[2:]
    assert "Northgate Health Partners   8,877            96.4   15,208.0  363,848.8" in shown[0]
    assert "Prior authorization of Harborview Medical Group. From 2026-06-17 14:00" in shown[0]
    assert "compared with the source, 0 differences; 0 cells wait" in shown[0]
    assert not server_processes(embedded_home)
    with dg.DagsterInstance.from_config(str(embedded_home / "dagster")) as instance:
        done = instance.get_materialized_partitions(dg.AssetKey("aggregate_metrics"))
    assert {f"2026-06-{day:02}" for day in range(1, 31)} <= done
    assert min(done) == "2026-06-01"
    assert max(done) > "2026-06-30"


def test_the_demo_writes_nothing_beside_others(execmetrics: Execmetrics, source: Connection) -> None:
    """Databases that serve somebody are refused, and left as they were."""
    plant_job(source, plant_tenant(source))

    ended = execmetrics("demo")

    assert ended.exit_code == 2
    assert "serve organizations that the demo did not make" in ended.stderr
    assert source.execute("SELECT count(*) FROM orchestration.jobs").fetchone() == (1,)

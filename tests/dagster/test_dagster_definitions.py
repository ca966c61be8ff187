"""What Dagster loads, and what its catalogue says about the tables."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from deltalake import DeltaTable

from assets.definitions import defs
from assets.partitions import Scope
from pipelines.settings import Settings, load_settings
from tests.support.dagster_runs import day_key, refresh_run
from tests.support.places import ROOT
from tests.support.planting import NOON, plant_job, plant_tenant

KINDS = {
    "job_facts": {"deltalake", "polars"},
    "aggregate_metrics": {"duckdb", "postgres"},
    "aggregate_step_metrics": {"duckdb", "deltalake", "postgres"},
    "execution_metadata": {"postgres"},
}

ASSETS = {asset.key.path[-1]: asset for asset in defs.assets if isinstance(asset, dg.AssetsDefinition)}


def test_the_definitions_load() -> None:
    """Every asset, check, job and schedule resolves, as the code server resolves them."""
    dg.Definitions.validate_loadable(defs)

    assert set(ASSETS) == set(KINDS)
    assert set(defs.get_repository_def().job_names) >= {"refresh", "tidy_job_facts"}


def test_loading_asks_no_database_and_says_nothing() -> None:
    """The first day is that of the setting, whatever the databases do; nobody has to read a warning."""
    nowhere = "postgresql://me@127.0.0.1:1/none"
    environment = {
        "EXECMETRICS_DATABASE_URL": nowhere,
        "EXECMETRICS_SOURCE_URL": nowhere,
        "EXECMETRICS_PARTITIONS_SINCE": "2026-06-01",
    }
    question = (
        "from assets.definitions import defs;"
        "print({a.partitions_def.get_first_partition_key() for a in defs.assets if a.partitions_def})"
    )

    loading = subprocess.run(
        [sys.executable, "-c", question],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )

    assert (loading.returncode, loading.stdout, loading.stderr) == (0, "{'2026-06-01'}\n", "")


@pytest.mark.parametrize("name", ASSETS)
def test_an_asset_says_what_it_is(name: str) -> None:
    """Owner, kinds, group, table and description; without a run for the lag limit it is not fresh."""
    spec = ASSETS[name].get_asset_spec()

    assert spec.owners == ["team:data-platform"]
    assert spec.kinds == KINDS[name]
    assert spec.group_name == "execution_metrics"
    assert spec.metadata["dagster/table_name"].endswith(name)
    assert spec.description
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=load_settings().lag_limit)


@pytest.mark.parametrize("name", ASSETS)
def test_an_asset_says_where_its_columns_and_its_code_are_from(name: str) -> None:
    """Columns that are copied or computed have a lineage; code and the runbook's section can be opened."""
    shown = ASSETS[name].get_asset_spec().metadata

    columns = {column.name for column in shown["dagster/column_schema"].columns}
    lineage = shown["dagster/column_lineage"].deps_by_column
    assert columns - lineage.keys() <= {"computed_at", "definition_version", "last_synced_at"}
    assert lineage.keys() <= columns
    runbook, code = shown["dagster/code_references"].code_references
    assert Path(runbook.file_path) == ROOT / "docs/operations.md"
    assert Path(code.file_path) == ROOT / "assets/tables.py"
    document, section = shown["runbook"].value.split("#")
    headings = re.findall(r"^## (.+)$", (ROOT / document).read_text(), re.MULTILINE)
    assert section in {heading.lower().replace(",", "").replace(" ", "-") for heading in headings}


def test_what_the_runbook_shows_for_the_launchpad_is_valid() -> None:
    """Each YAML block configures the three tables of one run, and every field of theirs is described."""
    shown = re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs/operations.md").read_text(), re.DOTALL | re.MULTILINE
    )
    job = defs.resolve_job_def("refresh")

    assert len(shown) == 3
    for block in shown:
        config = dg.validate_run_config(job, yaml.safe_load(block))
        assert config["ops"]["job_facts"]["config"] == config["ops"]["aggregate_step_metrics"]["config"]
    assert all(field.description for field in Scope.model_fields.values())


@pytest.mark.parametrize("name", ["job_facts", "aggregate_metrics", "aggregate_step_metrics"])
def test_an_asset_can_be_backfilled_by_days(name: str) -> None:
    """Days in UTC, today among them; a month in a run; a failed step is tried twice more.

    Without the annotation of what it returns, a run over several days fails after its work is done.
    """
    asset = ASSETS[name]
    days, returned = asset.partitions_def, asset.op.compute_fn.decorated_fn.__annotations__["return"]

    assert isinstance(days, dg.DailyPartitionsDefinition)
    assert days.timezone == "UTC"
    assert days.has_partition_key(day_key(datetime.now(UTC)))
    assert days.get_first_partition_key() == "2022-12-01"
    assert asset.backfill_policy == dg.BackfillPolicy.multi_run(max_partitions_per_run=31)
    assert asset.op.retry_policy.max_retries == 2
    assert returned.__origin__ is dg.MaterializeResult


@pytest.mark.parametrize("job", ["refresh", "tidy_job_facts", "__ASSET_JOB"])
def test_every_job_runs_in_one_process(job: str) -> None:
    """A process per step would cost five seconds and lose what the first asset hands to the second."""
    assert defs.get_repository_def().get_job(job).executor_def.name == "in_process"


def test_the_workspace_is_this_folder() -> None:
    """Another package called assets, somewhere in site-packages, is not taken for ours."""
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())

    module = workspace["load_from"][0]["python_module"]
    assert (module["module_name"], module["working_directory"]) == ("assets.definitions", ".")


@pytest.mark.parametrize("table", ["analytics.aggregate_metrics", "orchestration.execution_metadata"])
def test_the_catalogue_has_the_columns_of_the_tables(analytics: psycopg.Connection, table: str) -> None:
    """Names, NULLs and meanings are those of the real table, where a later column is the last."""
    columns = analytics.execute(
        "SELECT attname, NOT attnotnull, col_description(attrelid, attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        [table],
    ).fetchall()

    schema = ASSETS[table.partition(".")[2]].get_asset_spec().metadata["dagster/column_schema"]
    listed = [(c.name, c.constraints.nullable, c.description) for c in schema.columns]
    assert sorted(listed) == sorted(columns)


@pytest.mark.usefixtures("configured")
def test_the_catalogue_has_the_columns_of_the_facts(source: psycopg.Connection, settings: Settings) -> None:
    """The catalogue lists what a reader of the Delta table finds, in its order."""
    plant_job(source, plant_tenant(source))
    assert refresh_run(NOON).success

    stored = [field.name for field in DeltaTable(settings.facts_location).schema().fields]

    schema = ASSETS["job_facts"].get_asset_spec().metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == stored

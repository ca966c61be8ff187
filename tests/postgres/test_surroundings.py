"""Roles, databases, shells and folders with preferences of their own: we do not go by them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import migrate
from pipelines.query.pool import ReadingPool
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.conftest import OWNER, with_database, with_user
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import NOON, cells, change_job, plant_job, plant_tenant

# What an administrator may have set for a role. Times are short, and long enough to say hello.
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
OFF = ("array_nulls", "standard_conforming_strings", "backslash_quote", "row_security", "enable_seqscan")
ON = ("quote_all_identifiers", "transform_null_equals", "exit_on_error", "default_transaction_deferrable")
OF_ROLES: Mapping[str, str] = {
    **dict.fromkeys((*TIMEOUTS, "idle_session_timeout"), "200ms"),
    **dict.fromkeys((*OFF, "synchronize_seqscans"), "off"),
    **dict.fromkeys((*ON, "default_transaction_read_only"), "on"),
    "client_encoding": "LATIN1",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "search_path": "nowhere",
    "default_transaction_isolation": "serializable",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "xmlbinary": "hex",
    "client_min_messages": "error",
    "plan_cache_mode": "force_generic_plan",
}

# What a shell or a container may have set for whoever runs in it.
OF_SHELLS: Mapping[str, str] = {
    **dict.fromkeys(("http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://192.0.2.1:9"),
    **dict.fromkeys(("PGTZ", "TZ"), "Asia/Kathmandu"),
    **dict.fromkeys(("PGCONNECT_TIMEOUT", "PGPORT"), "1"),
    **dict.fromkeys(("PGHOST", "PGUSER", "PGDATABASE"), "nowhere.invalid"),
    "PGCLIENTENCODING": "LATIN1",
    "PGOPTIONS": "-c search_path=nowhere -c default_transaction_read_only=on",
    "PGDATESTYLE": "German",
    "PGGEQO": "off",
    "PGAPPNAME": "psql",
    "PGSSLMODE": "require",
    "LC_ALL": "de_DE.UTF-8",
    "LANGUAGE": "de",
}


def one_by_one(all_of_them: Mapping[str, str]) -> list[Any]:
    """All together, which is what a sample tries, and each alone."""
    alone = [
        pytest.param({name: value}, id=name, marks=pytest.mark.only_in_everything)
        for name, value in all_of_them.items()
    ]
    return [pytest.param(all_of_them, id="all of them"), *alone]


@pytest.mark.parametrize("preferred", one_by_one(OF_ROLES))
def test_what_a_role_prefers_changes_nothing(
    preferred: Mapping[str, str],
    databases: Databases,
    settings: Settings,
    source: Connection,
    analytics: Connection,
) -> None:
    """Refresh, verify, reads and doctor have sessions with our settings, whatever surrounds them."""
    name = source.info.dbname
    for setting, value in preferred.items():
        source.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {setting} = '{value}'")

    assert_all_is_well(databases, settings, source, analytics)


@pytest.mark.parametrize("preferred", one_by_one(OF_SHELLS))
def test_what_a_shell_prefers_changes_nothing(
    preferred: Mapping[str, str],
    databases: Databases,
    settings: Settings,
    source: Connection,
    analytics: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A URL that says where to connect is not led elsewhere by variables."""
    for variable, value in preferred.items():
        monkeypatch.setenv(variable, value)

    assert_all_is_well(databases, settings, source, analytics)


def test_how_a_database_is_encoded_changes_nothing(server: str, settings: Settings) -> None:
    """Names of a database in LATIN1 are published as they are."""
    made = f"CREATE DATABASE in_latin1 OWNER {OWNER} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    url = with_user(with_database(server, "in_latin1"), OWNER)
    databases = Databases(url, url)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(made)
        try:
            migrate(Run(databases, settings))
            with psycopg.connect(url, autocommit=True) as connection:
                assert_all_is_well(databases, settings, connection, connection)
                named = connection.execute("SELECT name FROM analytics.organizations ORDER BY 1").fetchall()
        finally:
            admin.execute("DROP DATABASE IF EXISTS in_latin1 WITH (FORCE)")

    assert named == [("Müller & Söhne",), ("Nächster",)]


def test_what_a_home_is_called_changes_nothing(
    databases: Databases, settings: Settings, source: Connection, analytics: Connection, tmp_path: Path
) -> None:
    """Signs that mean something in a URL, a pattern or a partition are parts of a name."""
    home = tmp_path / "env=prod/created_date=2020-01-01/50% of a?b*c#d 'é'"

    assert_all_is_well(databases, settings.model_copy(update={"home": home}), source, analytics)


def assert_all_is_well(
    databases: Databases, settings: Settings, source: Connection, analytics: Connection
) -> None:
    """Every cell equals SQL on the source, through a change as well, for a tenant and its neighbour."""
    tenant, neighbour = plant_tenant(source, "Müller & Söhne"), plant_tenant(source, "Nächster")
    source.execute(
        "UPDATE orchestration.organizations SET time_zone = 'Europe/Berlin' WHERE id = %s",
        [tenant.organization],
    )
    job = plant_job(source, tenant, initiator_type="Prüfer \\ 'x'")
    plant_job(source, neighbour, completed_at=NOON)

    refresh(Run(databases, settings))
    change_job(source, job, status="FAILED")
    refresh(Run(databases, settings))

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert verify(Run(databases, settings)).differences == ()
    assert {
        row[0] for row in analytics.execute("SELECT initiator_type FROM analytics.aggregate_metrics")
    } >= {"Prüfer \\ 'x'"}
    with ReadingPool(databases.analytics_url, settings) as pool:
        pool.require_ready()

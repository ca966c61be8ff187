"""Database URLs: what is configured is what the drivers get, and what is shown has no password."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from pipelines.errors import InvalidSetting
from pipelines.postgres.connections import for_drivers, open_databases
from pipelines.postgres.urls import DatabaseUrl, with_user, without_password
from pipelines.settings import load_settings

URL = "postgresql://me:a%20b%2Bc@/my%20jobs?host=%2Fvar%2Frun%2Fmy%20server&application_name=a%2Bb"
MEANT = "user=me password='a b+c' dbname='my jobs' host='/var/run/my server' application_name=a+b"


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("postgresql+psycopg://me@host/jobs", "user=me host=host dbname=jobs"),
        (
            "postgres://me:a%2Fb%40c:d@[::1]:5433/jobs",
            "user=me password=a/b@c:d host=::1 port=5433 dbname=jobs",
        ),
        ("postgresql://one:1,two:2/jobs", "host=one,two port=1,2 dbname=jobs"),
        ("postgresql://me:one@two@host/jobs", "user=me password=one@two host=host dbname=jobs"),
        ("postgresql://me:a@b/c?d@host/jobs", "user=me password=a@b/c?d host=host dbname=jobs"),
        ("postgresql://me@cloud:s3cr3t@host/jobs", "user=me@cloud password=s3cr3t host=host dbname=jobs"),
        ("postgresql:///jobs?options=-c+geqo%3Doff", "dbname=jobs options='-c geqo=off'"),
        (
            "postgresql://me@host/jobs?schema=public&connection_limit=5&pgbouncer=true&sslmode=require",
            "user=me host=host dbname=jobs sslmode=require",
        ),
        (URL, MEANT),
    ],
)
def test_a_url_means_to_the_driver_what_it_says(written: str, understood: str) -> None:
    """SQLAlchemy's prefix, several hosts, an address: all of them are read, and so are spaces and pluses.

    Options that only Prisma knows are left out.
    """
    with open_databases(load_settings(database_url=written)) as databases:
        assert conninfo_to_dict(databases.analytics_url) == conninfo_to_dict(understood)


def test_another_role_needs_no_password() -> None:
    """Neither of whoever the URL names."""
    as_reader = with_user("postgresql://me:s3cr3t@host/jobs?user=me", "a reader")

    assert conninfo_to_dict(as_reader) == conninfo_to_dict("user='a reader' host=host dbname=jobs")


def test_a_session_begins_with_what_its_url_says() -> None:
    """And no variable of the shell, such as PGOPTIONS or PGCLIENTENCODING, says anything else."""
    patient = for_drivers(URL, load_settings(connect_timeout=7))

    ours = conninfo_to_dict("connect_timeout=7 client_encoding=UTF8 options=''")
    assert conninfo_to_dict(patient) == conninfo_to_dict(MEANT) | ours


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cr3t@host/db",
        "postgresql://me:one@s3cr3t@host/db",
        "postgresql://me:one@two/s3cr3t?@host/db",
        "postgresql://host/db?user=me&password=s3cr3t",
        "postgresql:///db?sslpassword=s3cr3t",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    """Wherever libpq lets it be written."""
    assert "s3cr3t" not in without_password(url) + repr(DatabaseUrl.read(url))


@pytest.mark.parametrize("url", ["mysql://host/db", "nonsense"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    """The message names the variable, not the value."""
    refused = pytest.raises(InvalidSetting, match="EXECMETRICS_DATABASE_URL")
    with refused as refusal, open_databases(load_settings(database_url=url)):
        pytest.fail("it was taken")

    assert url not in str(refusal.value)

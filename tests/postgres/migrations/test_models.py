"""The tables that the code describes are the tables that the migrations make."""

import re
from collections.abc import Iterable

import pytest
from psycopg import Connection
from sqlalchemy import create_engine, make_url
from sqlalchemy.schema import CreateSchema

from pipelines.postgres.connections import Databases
from pipelines.postgres.schemas import SOURCE_COLUMNS
from pipelines.postgres.tables import METADATA
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS, Status
from pipelines.subjects.reasons import Outcome, Restated
from pipelines.subjects.steps import Level
from tests.conftest import CreateDatabase
from tests.support.postgres_catalog import Thing, constraints, things

pytestmark = pytest.mark.every_postgres


@pytest.mark.parametrize("schema", METADATA)
def test_tables_made_from_the_models_are_the_migrated_ones(
    databases: Databases, create_bare_database: CreateDatabase, schema: str
) -> None:
    """PostgreSQL's catalog is the same to the letter: types, CHECKs, keys, indexes, names and comments.

    Of a table of the source, whose keys the migration alone makes, the columns are compared.
    """
    modelled = create_bare_database()
    engine = create_engine(make_url(modelled).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(CreateSchema(schema))
        METADATA[schema].create_all(connection)
    engine.dispose()

    made, migrated = (of_models(url, schema) for url in (modelled, databases.analytics_url))

    assert made == migrated
    assert len(made) > 10


@pytest.mark.parametrize("schema", METADATA)
def test_everything_has_a_comment(databases: Databases, schema: str) -> None:
    """Each schema, table, column and type explains itself in a sentence to whoever opens it."""
    explained = [
        thing
        for thing in things(databases.analytics_url, schema)
        if thing[0] not in ("constraint", "index", "policy")
    ]

    unexplained = [name for _, name, _, comment in explained if not (comment or "").endswith((".", "'"))]

    assert unexplained == []
    assert {kind for kind, *_ in explained} >= {"schema", "table", "column"}


def test_a_figure_is_explained_alike_in_the_table_and_in_every_view(databases: Databases) -> None:
    """A reader of a view in a BI tool finds the comment of the table."""
    told: dict[str, set[str | None]] = {}
    for kind, name, _, comment in things(databases.analytics_url, "analytics"):
        column = name.rpartition(".")[2]
        if kind == "view column" or name == f"aggregate_metrics.{column}":
            told.setdefault(column, set()).add(comment)

    assert {name: told[name] for name in JOBS.measure_columns if len(told[name]) != 1} == {}


@pytest.mark.parametrize("schema", METADATA)
def test_names_of_constraints_are_words(databases: Databases, schema: str) -> None:
    """An error message quotes the constraint, so none is called `jobs_check` or `jobs_client_id_fkey`."""
    names = constraints(databases.analytics_url, schema, "cfpu") - {"alembic_version_pkc"}

    unreadable = {
        name
        for name in names
        if not re.fullmatch("[a-z]+(_[a-z]+)+", name)
        or re.search("_(check|fkey|pkey|key|fk|pk|ck|uq)$", name)
    } - {name for name in names if name.endswith("_primary_key")}

    assert unreadable == set()
    assert max(map(len, names)) < 63


@pytest.mark.parametrize(
    ("schema", "thing", "words"),
    [
        ("analytics", "restatements.restatements_reason_is_known", Restated),
        ("analytics", "refresh_outcomes.refresh_outcomes_outcome_is_known", Outcome),
        ("analytics", "restatements.restatements_subject_is_known", [each.name for each in SUBJECTS]),
        ("orchestration", "job_status", Status),
        ("orchestration", "log_level", Level),
    ],
)
def test_the_words_that_code_writes_are_those_that_a_rule_knows(
    databases: Databases, schema: str, thing: str, words: Iterable[str]
) -> None:
    """No word can be written that the database refuses, and it waits for none that nobody writes."""
    (rule,) = (each[2] for each in things(databases.analytics_url, schema) if each[1].endswith(thing))

    known = re.findall("'(.*?)'", rule) or rule.split()
    assert sorted(known) == sorted(map(str, words))


def test_the_columns_we_rely_on_are_those_of_the_source(source: Connection) -> None:
    """What `require_source` asks for, and grants name, exists in the schema that we migrate ourselves."""
    for table, columns in SOURCE_COLUMNS.items():
        source.execute(f"SELECT {', '.join(columns)} FROM orchestration.{table}")

    assert "result" not in SOURCE_COLUMNS["jobs"]


def of_models(url: str, schema: str) -> list[Thing]:
    """What belongs to the tables that code describes, without the policies and views of migrations."""
    models = tuple(table.name for table in METADATA[schema].tables.values())
    kinds = ("table", "column") if schema == "orchestration" else ("table", "column", "constraint", "index")
    found = [(each, each[1].removeprefix(f"{schema}.").partition(".")[0]) for each in things(url, schema)]
    return [
        each
        for each, name in found
        if each[0] in kinds
        and (name in models or (each[0] == "index" and name.startswith(tuple(f"{one}_" for one in models))))
    ]

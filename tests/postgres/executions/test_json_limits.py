"""How large a JSON value may be is one question with one answer, asked of the application or of the table."""

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidSetting, JsonNotStorable, JsonTooLarge
from pipelines.executions.json_limits import checked_json, json_size, json_text
from pipelines.settings import load_settings
from tests.postgres.executions.conftest import Begin
from tests.support.planting import Tenant, plant_job, plant_tenant

MEBIBYTE = 1_048_576

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.integers(0, 3), inner, max_size=4),
    max_leaves=12,
)

# The database is the same for every example, and nothing is left in it.
SHARED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.every_postgres
@SHARED
@given(value=JSON)
@example(value=[1e308, -1e308, 5e-324, 1e16, -0.0, 1.5e-7, 10**300, 2.0])
@example(value={"a": [], '\x7f\x1f\t"\\/é😀': "\u2028"})
@example(value={1: "before", "1": "after, and longer"})
def test_a_value_is_measured_as_postgresql_measures_it(source: psycopg.Connection, value: object) -> None:
    """Numbers without exponents, spaces after colons and commas, the last of a key that is there twice."""
    written = json_text(value, "jobs.result")

    ((measured,),) = source.execute("SELECT octet_length(%s::jsonb::text)", [written]).fetchall()

    assert json_size(written) == measured


@pytest.mark.every_postgres
@settings(SHARED, max_examples=8)
@given(value=JSON, beyond=st.sampled_from([-1, 0, 1]))
@example(value=[1e308] * 2000, beyond=1)
def test_the_application_refuses_what_the_constraint_refuses(
    source: psycopg.Connection, value: object, beyond: int
) -> None:
    """One byte more than a mebibyte is too much for both, and one less for neither."""
    job = plant_job(source, plant_tenant(source, workflows=1, clients=0))
    padded = {"value": value, "é": ""}
    padded["é"] = "x" * (MEBIBYTE + beyond - json_size(json_text(padded, "jobs.result")))

    try:
        source.execute(
            "UPDATE orchestration.jobs SET result = %s::jsonb WHERE id = %s",
            [json_text(padded, "jobs.result"), job],
        )
        broken = None
    except psycopg.errors.CheckViolation as refusal:
        broken = refusal.diag.constraint_name
    try:
        checked_json(padded, "jobs.result", load_settings())
        refused = False
    except JsonTooLarge:
        refused = True

    assert broken == ("jobs_result_is_at_most_a_mebibyte" if beyond > 0 else None)
    assert refused == (beyond > 0)


def test_a_refusal_names_column_size_and_limit(
    source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """And never the value, which may be a patient's; nothing is written."""
    with begin(acme, json_limit_bytes=100) as work:
        work.jobs.create(acme.workflows[0], result={"patient": "x" * 84})
        with pytest.raises(JsonTooLarge) as refusal:
            work.jobs.create(acme.workflows[0], result={"patient": "x" * 87})
        work.commit()

    assert str(refusal.value).endswith("nothing was written. (jobs.result: 102 of 100 bytes)")
    assert refusal.value.exit_code == 2
    assert source.execute("SELECT count(*) FROM orchestration.jobs").fetchone() == (1,)


@pytest.mark.parametrize(
    "value", [float("nan"), {"a": float("inf")}, "nul \0", "half \ud800", {("a",): 1}, {1, 2}, b"bytes"]
)
def test_what_jsonb_cannot_hold_is_refused(value: object) -> None:
    """Before the database is asked, and without the words of the library, which hold the value."""
    with pytest.raises(JsonNotStorable) as refusal:
        checked_json(value, "jobs.result", load_settings())

    assert refusal.value.__cause__ is None
    assert str(refusal.value).endswith("(jobs.result)")


def test_an_escaped_backslash_is_no_nul() -> None:
    """The six characters that would be an escape are a text like any other."""
    assert checked_json("\\u0000", "jobs.result", load_settings()) == '"\\\\u0000"'
    assert checked_json(None, "jobs.result", load_settings()) is None


@pytest.mark.parametrize("said", ["0", "1048577", "much"])
def test_the_limit_is_no_more_than_a_mebibyte(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A higher one would only be refused later, by the table."""
    monkeypatch.setenv("EXECMETRICS_JSON_LIMIT_BYTES", said)

    with pytest.raises(InvalidSetting, match="EXECMETRICS_JSON_LIMIT_BYTES"):
        load_settings()


@pytest.mark.every_postgres
def test_large_columns_are_compressed_by_lz4_where_the_server_can(source: psycopg.Connection) -> None:
    """A server that was built without it compresses as it always did."""
    ((can,),) = source.execute(
        "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    ).fetchall()
    job = plant_job(source, plant_tenant(source), result=None)
    source.execute("UPDATE orchestration.jobs SET result = to_jsonb(repeat('a', 9000)) WHERE id = %s", [job])

    columns = source.execute(
        "SELECT attrelid::regclass::text || '.' || attname, attcompression::text FROM pg_attribute"
        " WHERE attcompression <> '' AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace ="
        " 'orchestration'::regnamespace)"
    ).fetchall()

    expected = {
        "orchestration.jobs.result",
        "orchestration.workflows.definition",
        "orchestration.execution_logs.metadata",
        "orchestration.execution_logs_default.metadata",
        "orchestration.execution_rag_rules.payers",
        "orchestration.execution_rag_rules.rules",
    }
    assert dict(columns) == (dict.fromkeys(expected, "l") if can else {})
    assert source.execute("SELECT pg_column_compression(result) FROM orchestration.jobs").fetchone() == (
        "lz4" if can else "pglz",
    )

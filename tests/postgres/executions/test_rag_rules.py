"""Payers and rules have one shape: the models, the constraints and the comments say the same."""

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter, ValidationError

from pipelines.errors import JobNotVisible, JsonTooLarge, RagRulesMalformed, RowRefused
from pipelines.executions.repositories import Payer, Rule
from tests.postgres.executions.conftest import Begin
from tests.postgres.executions.test_json_limits import JSON
from tests.support.planting import NOON, Tenant, plant_job, plant_tenant

PAYER = {"name": "Aetna", "id": "7", "scenario": "initial"}
RULE = {"ruleId": "1", "ruleType": "age", "condition": "> 65", "action": "ask", "wasUsed": True}

SHAPES: dict[str, tuple[dict[str, Any], TypeAdapter[Any]]] = {
    "payers": (PAYER, TypeAdapter(list[Payer])),
    "rules": (RULE, TypeAdapter(list[Rule])),
}


def nearly(whole: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Arrays of objects that are right but for a member or two, and sometimes something else entirely."""
    odd = st.dictionaries(st.sampled_from([*whole, "other", "rule_id"]), JSON, max_size=2)
    objects = st.tuples(odd, st.sets(st.sampled_from([*whole, "none"]), max_size=1)).map(
        lambda how: {name: value for name, value in (whole | how[0]).items() if name not in how[1]}
    )
    return st.lists(st.just(whole) | objects | JSON, max_size=3) | JSON


@pytest.mark.every_postgres
@pytest.mark.parametrize("column", SHAPES)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@example(data=None)
def test_the_models_refuse_what_the_constraints_refuse(
    source: psycopg.Connection, column: str, data: st.DataObject | None
) -> None:
    """And the other way round, whatever JSON somebody writes past the application."""
    whole, shape = SHAPES[column]
    values = [data.draw(nearly(whole))] if data else [[whole], [[whole]], [whole | {"more": 1}], whole, []]
    for value in values:
        try:
            shape.validate_python(value)
            refused = False
        except ValidationError:
            refused = True

        assert broken_by(source, column, value) == (
            f"execution_rag_rules_{column}_have_their_shape" if refused else None
        )


@pytest.mark.every_postgres
@pytest.mark.parametrize("column", SHAPES)
def test_the_comment_says_the_shape(source: psycopg.Connection, column: str) -> None:
    """The table has every member that the models name."""
    whole, _ = SHAPES[column]

    ((said,),) = source.execute(
        "SELECT col_description(attrelid, attnum) FROM pg_attribute"
        " WHERE attrelid = 'orchestration.execution_rag_rules'::regclass AND attname = %s",
        [column],
    ).fetchall()

    assert all(name in said for name in whole)


def test_rules_are_found_as_they_were_created(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """Whatever else their objects hold is kept too; a neighbour has none of them."""
    job, theirs = plant_job(source, acme), plant_job(source, neighbour)
    more = RULE | {"score": 0.5}
    with begin(acme) as work:
        work.rag_rules.create(job, payers=[PAYER], rules=[more, Rule.model_validate(RULE)])
        with pytest.raises(JobNotVisible):
            work.rag_rules.create(theirs, payers=[], rules=[])
        work.commit()

    with begin(acme) as work:
        found = work.rag_rules.find_by_job(job)
    with begin(neighbour) as work:
        assert work.rag_rules.find_by_job(job) is None

    assert found.payers == (Payer(**PAYER),)
    assert [rule.model_dump() for rule in found.rules] == [more, RULE]
    assert (found.rules[0].rule_id, found.rules[0].was_used) == ("1", True)


def test_a_job_has_its_rules_once(source: psycopg.Connection, begin: Begin, acme: Tenant) -> None:
    """A second set is refused, and the rule that it breaks is named."""
    job = plant_job(source, acme)
    with begin(acme) as work:
        work.rag_rules.create(job, payers=[], rules=[])
        with pytest.raises(RowRefused, match="execution_rag_rules_primary_key"):
            work.rag_rules.create(job, payers=[], rules=[])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"payers": [PAYER, PAYER | {"id": 7}]}, "(payers.1.id: Input should be a valid string)"),
        ({"rules": [RULE | {"wasUsed": "private"}]}, "(rules.0.wasUsed: Input should be a valid boolean)"),
        ({"rules": "private"}, "(rules: Input should be a valid list)"),
    ],
)
def test_a_malformed_one_is_named_by_its_place(
    source: psycopg.Connection, begin: Begin, acme: Tenant, wrong: dict[str, Any], said: str
) -> None:
    """Not by its value, which may be a patient's."""
    job = plant_job(source, acme)

    with begin(acme) as work, pytest.raises(RagRulesMalformed) as refusal:
        work.rag_rules.create(job, **({"payers": [], "rules": []} | wrong))

    assert str(refusal.value).endswith(said)
    assert refusal.value.__cause__ is None
    assert "private" not in str(refusal.value)


def test_rules_are_limited(source: psycopg.Connection, begin: Begin, acme: Tenant) -> None:
    """As every JSON column is."""
    job = plant_job(source, acme)

    with (
        begin(acme, json_limit_bytes=100) as work,
        pytest.raises(JsonTooLarge, match=r"\(execution_rag_rules\.payers: 150 of 100 bytes\)"),
    ):
        work.rag_rules.create(job, payers=[PAYER | {"more": "x" * 85}], rules=[])


def broken_by(source: psycopg.Connection, column: str, value: Any) -> str | None:
    """Which constraint refuses it, if one does."""
    tenant = plant_tenant(source, workflows=1, clients=0)
    job = plant_job(source, tenant, completed_at=NOON)
    try:
        source.execute(
            f"INSERT INTO orchestration.execution_rag_rules (organization_id, job_id, {column})"
            " VALUES (%s, %s, %s)",
            [tenant.organization, job, Jsonb(value)],
        )
    except psycopg.errors.CheckViolation as refusal:
        return refusal.diag.constraint_name
    return None

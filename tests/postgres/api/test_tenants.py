"""A tenant gets its own figures and no other tenant's, whatever the request names."""

import pytest

from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.tenant import admit
from tests.postgres.api.conftest import NAMES, QUESTIONS, RANGE, Answer, Api, path_of, token_of
from tests.support.planting import Tenant, new_id


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_answer_names_nobody_else(shared: Api, question: str, number: int, form: str) -> None:
    """No id and no name of a neighbour is in any answer, and one's own are."""
    tenant = shared.tenants[number]

    answer = shared.ask(tenant, question, **QUESTIONS[question], format=form)

    assert answer.status_code == 200
    for neighbour, name in zip(shared.tenants, NAMES, strict=True):
        if neighbour is not tenant:
            assert not [mark for mark in (name, *ids(neighbour)) if mark in answer.text]
    if question in ("metrics", "workflows"):
        assert all(str(workflow) in answer.text for workflow in tenant.workflows)
    if question in ("metrics", "clients"):
        assert all(str(client) in answer.text for client in tenant.clients)
    if question == "completeness":
        assert NAMES[number] in answer.text


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_neighbour_is_as_absent_as_nobody(shared: Api, question: str) -> None:
    """With another's token an organization looks to the letter like one that does not exist."""
    mine, neighbour, _ = shared.tenants
    nobody = Tenant(new_id(), (), ())
    as_me = {"Authorization": f"Bearer {token_of(mine)}"}

    of_neighbour = shared.client.get(path_of(neighbour, question), params=QUESTIONS[question], headers=as_me)
    of_nobody = shared.client.get(path_of(nobody, question), params=QUESTIONS[question], headers=as_me)
    as_nobody = shared.ask(nobody, question, **QUESTIONS[question])

    assert of_neighbour.status_code == 404
    assert of_neighbour.json()["type"] == "urn:execution-metrics:problem:organization-not-visible"
    for absent in (of_nobody, as_nobody):
        assert absent.status_code == 404
        assert absent.headers == of_neighbour.headers
        assert absent.text.replace(str(nobody.organization), str(neighbour.organization)) == of_neighbour.text


def test_a_tenant_may_call_itself_by_its_name(shared: Api) -> None:
    """It is answered as by its id; a neighbour's name is as absent as one that nobody has."""
    mine, neighbour, _ = shared.tenants
    as_me = {"Authorization": f"Bearer {token_of(mine)}"}

    def asked(name: str, question: str = "summary") -> Answer:
        return shared.client.get(path_of(name, question), params=QUESTIONS[question], headers=as_me)

    of_neighbour, of_nobody = asked(NAMES[1]), asked("Nemo!")

    assert asked(NAMES[0]).json() == asked(str(mine.organization)).json() == asked(shouted(mine)).json()
    assert asked(NAMES[0], "completeness").status_code == 200
    for absent in (of_neighbour, of_nobody, asked(shouted(neighbour)), asked(NAMES[0].lower())):
        assert absent.status_code == 404
        assert absent.headers["Content-Type"] == "application/problem+json"
        assert absent.json()["detail"] == of_nobody.json()["detail"]
    assert of_neighbour.text.replace(NAMES[1], "Nemo!") == of_nobody.text


@pytest.mark.parametrize(
    ("filtered", "question"),
    [
        ("workflow", "summary"),
        ("workflow", "clients"),
        ("workflow", "initiators"),
        ("client", "summary"),
        ("client", "workflows"),
        ("client", "initiators"),
    ],
)
def test_a_workflow_or_client_of_another_is_as_absent_as_none(
    shared: Api, filtered: str, question: str
) -> None:
    """Asking for a neighbour's is asking for one that never was."""
    mine, neighbour, _ = shared.tenants
    foreign_id = (neighbour.workflows if filtered == "workflow" else neighbour.clients)[0]

    foreign = shared.ask(mine, question, **RANGE, **{filtered: foreign_id})
    absent = shared.ask(mine, question, **RANGE, **{filtered: new_id()})
    rows = shared.ask(mine, "metrics", **RANGE, period="day", **{filtered: foreign_id})

    assert foreign.status_code == absent.status_code == 404
    assert foreign.json()["type"] == f"urn:execution-metrics:problem:{filtered}-not-visible"
    assert (foreign.text, foreign.headers) == (absent.text, absent.headers)
    assert rows.json()["rows"] == []


def test_a_question_about_the_wrong_tenant_leaks_nothing(
    shared: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a mistake ask for a neighbour's rows, the database shows none of them to this request."""
    mine, neighbour, _ = shared.tenants
    wrong = admit(neighbour.organization)
    monkeypatch.setattr(
        "pipelines.api.routes.AnalyticsRepository",
        lambda connection, _tenant, plan: AnalyticsRepository(connection, wrong, plan),
    )

    for question, parameters in QUESTIONS.items():
        assert shared.ask(mine, question, **parameters).status_code == 404


def shouted(tenant: Tenant) -> str:
    """Its id in capital letters."""
    return str(tenant.organization).upper()


def ids(tenant: Tenant) -> list[str]:
    """What would give a tenant away."""
    return [str(each) for each in (tenant.organization, *tenant.workflows, *tenant.clients)]

"""The description is complete: whatever it allows is answered as it says."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.postgres.api.conftest import QUESTIONS, Api, path_of, token_of
from tests.support.sampling import EVERYTHING

ASKED = [*(path_of("{organization_id}", question) for question in QUESTIONS), "/v1/definitions"]
OF_HEALTH = ["/healthz", "/readyz", "/metrics"]

# What takes no parameter cannot be asked for wrongly.
TRIED = [
    *((path, GenerationMode.POSITIVE) for path in ASKED + OF_HEALTH),
    *((path, GenerationMode.NEGATIVE) for path in ASKED),
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
]


@pytest.mark.parametrize(("path", "mode"), TRIED)
def test_whatever_is_described_is_answered_as_described(shared: Api, path: str, mode: GenerationMode) -> None:
    """No failure, and no status, header, type or shape that is not described, whatever is asked."""
    tenant = shared.tenants[0]
    operation = schemathesis.openapi.from_asgi("/openapi.json", shared.client.app)[path]["GET"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=40 if EVERYTHING else 10,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case) -> None:
        if "organization_id" in case.path_parameters:
            # Any other is answered by 404.
            case.path_parameters["organization_id"] = str(tenant.organization)
        case.call_and_validate(headers={"Authorization": f"Bearer {token_of(tenant)}"}, checks=CHECKS)

    ask()


@pytest.fixture
def described(shared: Api) -> dict[str, Any]:
    """The description."""
    return shared.client.get("/openapi.json").json()


def test_nothing_is_served_that_is_not_described(described: dict[str, Any]) -> None:
    """Each path is tried above; every failure is a problem, in one media type, wherever it may happen."""
    failures = [
        response
        for path in described["paths"].values()
        for status, response in path["get"]["responses"].items()
        if status >= "400"
    ]

    assert set(described["paths"]) == {*ASKED, *OF_HEALTH}
    assert len(failures) > 20
    assert {media_type for each in failures for media_type in each["content"]} == {"application/problem+json"}


def test_every_question_is_described(described: dict[str, Any]) -> None:
    """With each status that it can have, how to say who asks, and every parameter in words."""
    statuses = {path: set(each["get"]["responses"]) for path, each in described["paths"].items()}
    for question in QUESTIONS:
        path = path_of("{organization_id}", question)
        operation = described["paths"][path]["get"]

        assert statuses[path] == {"200", "304", "401", "404", "422", "503"}
        assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/csv"}
        assert operation["security"] == [{"token": []}]
        assert all(parameter["description"] for parameter in operation["parameters"])
        assert operation["description"]
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert statuses["/v1/definitions"] == {"200", "304", "401", "422", "503"}
    assert statuses["/readyz"] == {"200", "503"}


def test_no_page_loads_programs_from_elsewhere(shared: Api) -> None:
    """The framework's own pages of documentation would, so they are not served."""
    assert [shared.client.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]

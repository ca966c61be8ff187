"""What went wrong, as RFC 9457 has it: never the driver's words, a trace, or anybody else's data."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pipelines import errors
from pipelines.api.formats import Form
from pipelines.errors import ExecutionMetricsError

_log: Final = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

# What the caller can mend is told in full; of what we have to mend, only the docstring.
_TOLD: Final[Mapping[type[ExecutionMetricsError], HTTPStatus]] = {
    errors.TokenNotAccepted: HTTPStatus.UNAUTHORIZED,
    errors.OrganizationNotVisible: HTTPStatus.NOT_FOUND,
    errors.WorkflowNotVisible: HTTPStatus.NOT_FOUND,
    errors.ClientNotVisible: HTTPStatus.NOT_FOUND,
    errors.InvalidRange: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RangeNotStored: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownMeasure: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ParameterRepeated: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PageGone: HTTPStatus.UNPROCESSABLE_ENTITY,
}
_UNAVAILABLE: Final = (
    errors.AnalyticsQueryError,
    errors.DatabaseExhausted,
    errors.DatabaseUnreachable,
    errors.NotPermitted,
    errors.SchemaMissing,
    errors.TokenKeysUnreachable,
)
_UNEXPECTED: Final = "Something went wrong here that nobody expected; it is on record, please try again."
_HEADERS: Final = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="execution-metrics"'},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"},
}

# A name of a parameter is the caller's own; what is longer is a mistake all the same.
_LONGEST_NAME: Final = 60


class Problem(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(description="Names the kind of problem; `about:blank` when the status says it all.")
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in a sentence.")
    instance: str = Field(description="The path that was asked for.")


def describe_problems(app: FastAPI) -> None:
    """Answer every failure of the application with a problem."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(ExecutionMetricsError, _of_ours)


def unexpected(path: str) -> Response:
    """The answer when a failure has no other."""
    return _answered(HTTPStatus.INTERNAL_SERVER_ERROR, _UNEXPECTED, path)


def _of_ours(request: Request, failure: Any) -> Response:
    kind, path = type(failure), request.url.path
    if kind in _TOLD:
        return _answered(_TOLD[kind], str(failure), path, kind)
    if isinstance(failure, _UNAVAILABLE):
        _log.warning("%s, because of %s", kind.__name__, type(failure.__cause__).__name__)
        return _answered(HTTPStatus.SERVICE_UNAVAILABLE, str(kind()), path, kind)
    raise failure


def _of_http(request: Request, failure: Any) -> Response:
    status = HTTPStatus(failure.status_code)
    return _answered(status, status.description or status.phrase, request.url.path, more=failure.headers)


def _of_parameters(request: Request, failure: Any) -> Response:
    told = []
    for error in failure.errors():
        _, *place = error["loc"]
        name = str(place[0])[:_LONGEST_NAME] if place else "the query"
        unknown = error["type"] == "extra_forbidden"
        complaint = "There is no such parameter" if unknown else error["msg"].removeprefix("Value error, ")
        told.append(f"{name}: {complaint}.")
    return _answered(HTTPStatus.UNPROCESSABLE_ENTITY, " ".join(told), request.url.path)


def _answered(
    status: HTTPStatus,
    detail: str,
    path: str,
    kind: type[ExecutionMetricsError] | None = None,
    more: Mapping[str, str] | None = None,
) -> Response:
    words = re.findall(r"[A-Z][a-z]+", kind.__name__) if kind else []
    problem = Problem(
        type=f"urn:execution-metrics:problem:{'-'.join(words).lower()}" if words else "about:blank",
        title=" ".join(words).capitalize() or status.phrase,
        status=status,
        detail=detail,
        instance=path,
    )
    headers = dict(more or {}) | _HEADERS.get(status, {})
    return Response(problem.model_dump_json(), status, headers, MEDIA_TYPE)


Responses = dict[int | str, dict[str, Any]]


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _problem(description: str, **headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        "headers": {name.replace("_", "-"): _header(text) for name, text in headers.items()},
    }


_TAG: Final = {"ETag": _header("The same tag, the same answer: send it back as `If-None-Match`.")}
_NOT_MODIFIED: Final = {"description": "The answer is still the one with this tag.", "headers": _TAG}

NOT_READY: Final[Responses] = {
    503: _problem("The metrics cannot be read now.", Retry_After="After how many seconds to try again.")
}
OF_ANYBODY: Final[Responses] = {
    200: {"headers": _TAG},
    304: _NOT_MODIFIED,
    401: _problem("Without a token that is accepted.", WWW_Authenticate="How to say who asks."),
    422: _problem("A parameter is unknown, or cannot be understood."),
    **NOT_READY,
}
OF_A_TENANT: Final[Responses] = OF_ANYBODY | {
    200: {
        "headers": _TAG | {"Link": _header('The page that follows, as `rel="next"`.')},
        "content": {Form.CSV.value: {"schema": {"type": "string"}}},
    },
    404: _problem("No such organization, workflow or client for this token: absent, or someone else's."),
    422: _problem(
        "A parameter is unknown or cannot be understood, or the range is not made of what is stored."
    ),
}

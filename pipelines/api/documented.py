"""The responses that OpenAPI names beside the answers themselves."""

from typing import Any, Final

from pipelines.api import comma_separated
from pipelines.api.problems import MEDIA_TYPE, Problem

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
        "content": {comma_separated.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    404: _problem("No such organization, workflow or client for this token: absent, or someone else's."),
    422: _problem(
        "A parameter is unknown or cannot be understood, or the range is not made of what is stored."
    ),
}

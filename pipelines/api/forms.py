"""In which form an answer is written: JSON, or CSV for whoever asks for that."""

from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from fastapi import Request, Response

from pipelines.api import comma_separated
from pipelines.api.answer import Answer, Page
from pipelines.api.queries import FormQuery


class Form(StrEnum):
    """The media type of an answer."""

    JSON = "application/json"
    CSV = "text/csv"


_NAMED: Final = {"json": Form.JSON, "csv": Form.CSV}


def form_of(request: Request, query: FormQuery) -> Form:
    """What the query names, or else the header `Accept`."""
    if query.format:
        return _NAMED[query.format]
    shares = _shares(request.headers.get("accept", ""))
    wanted = shares.get(Form.CSV, 0.0)
    return Form.CSV if wanted > shares.get(Form.JSON, 0.0) else Form.JSON


def written(answer: Answer, form: Form, request: Request, tag: str) -> Response:
    """The answer as a response, which names the page that follows."""
    headers = {"ETag": tag}
    if isinstance(answer, Page) and answer.next is not None:
        following = urlencode(dict(request.query_params) | {"after": answer.next})
        headers["Link"] = f'<?{following}>; rel="next"'
    if form is Form.JSON:
        return Response(answer.model_dump_json(exclude_unset=True), headers=headers, media_type=form)
    name = request.url.path.rpartition("/")[2]
    headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    text = comma_separated.table(answer.columns(), (line.model_dump() for line in answer.lines()))
    return Response(text, headers=headers, media_type=form)


def _shares(accept: str) -> dict[str, float]:
    """How much each media type is wanted, from 0 to 1."""
    found = {}
    for each in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in each.split(";"))
        given = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
        try:
            found[media_type] = float(given[0]) if given else 1.0
        except ValueError:
            found[media_type] = 0.0
    return found

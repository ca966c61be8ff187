"""How an answer is written: as JSON or CSV, under an entity tag."""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response

from pipelines.api.params import FormQuery
from pipelines.api.schemas import Answer, Page

# What a spreadsheet takes for the beginning of a formula.
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def table(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """A header and the lines below it; an absent value is an empty cell."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    writer.writerows([_cell(line.get(column)) for column in columns] for line in lines)
    return written.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return value


# Another version may answer the same question in other words.
_PRODUCT: Final = version("execution-metrics")


def tag_of(*parts: object) -> str:
    """The tag of an answer that follows from these parts alone.

    It is a weak one: sums of the same floats may differ in their last digits.
    """
    digest = hashlib.sha256(repr((_PRODUCT, *parts)).encode("utf-8", "backslashreplace"))
    return f'W/"{digest.hexdigest()[:32]}"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether the header of a request names the tag."""
    named = (if_none_match or "").split(",")
    return tag.removeprefix("W/") in {each.strip().removeprefix("W/") for each in named}


class Form(StrEnum):
    """The media type of an answer."""

    JSON = "application/json"
    CSV = "text/csv"


def form_of(request: Request, query: FormQuery) -> Form:
    """What the query names, or else the header `Accept`."""
    if query.format:
        return Form[query.format.upper()]
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
    text = table(answer.columns(), (line.model_dump() for line in answer.lines()))
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

"""Where it is told what the figures mean, to every tenant alike."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as Parameters

from pipelines.api.answering import KnownTags
from pipelines.api.auth import identified
from pipelines.api.context import context_of
from pipelines.api.documented import OF_ANYBODY
from pipelines.api.forms import Form
from pipelines.api.meanings import DefinitionsAnswer, defined
from pipelines.api.parameters import each_once
from pipelines.api.queries import Query
from pipelines.api.tags import is_known, tag_of

router: Final = APIRouter(
    prefix="/v1",
    tags=["meanings"],
    dependencies=[Depends(identified), Depends(each_once)],
    responses=OF_ANYBODY,
)


@router.get("/definitions", response_model=DefinitionsAnswer)
def definitions(
    request: Request, _query: Annotated[Query, Parameters()], if_none_match: KnownTags = None
) -> Response:
    """What each measure means, its unit, whether it may be added up, and which combinations are stored."""
    answer = defined(context_of(request).plan).model_dump_json()
    tag = tag_of(answer)
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(answer, headers={"ETag": tag}, media_type=Form.JSON)

"""What those who run the server ask it, without a token: whether it is up, can answer, and how it does."""

from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict

from pipelines.api.auth import context_of
from pipelines.api.problems import NOT_READY

router: Final = APIRouter(tags=["health"])


class Health(BaseModel):
    """Well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["up", "ready"]


@router.get("/healthz")
async def healthz(response: Response) -> Health:
    """The process is up."""
    response.headers["Cache-Control"] = "no-store"
    return Health(status="up")


@router.get("/readyz", responses=NOT_READY)
def readyz(request: Request, response: Response) -> Health:
    """The database answers, and its tables are those of this version."""
    context_of(request).readiness.require()
    response.headers["Cache-Control"] = "no-store"
    return Health(status="ready")


@router.get("/metrics", response_class=PlainTextResponse)
def measurements(request: Request) -> Response:
    """Requests and how long they took, in the text format of Prometheus; no tenant is named."""
    text = generate_latest(context_of(request).measurements.registry)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE_LATEST)

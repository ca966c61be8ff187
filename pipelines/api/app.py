"""The application: its routes, what those who run it ask, and what every answer passes through."""

from importlib.metadata import version
from typing import Final, Literal

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict

from pipelines.api import pages, routes
from pipelines.api.auth import Context, Trust, context_of
from pipelines.api.middleware import Guard
from pipelines.api.problems import NOT_READY, describe_problems
from pipelines.query.pool import Readiness, ReadingPool
from pipelines.settings import Settings

# Whether it is up, can answer, and how it does: asked without a token.
health: Final = APIRouter(tags=["health"])


class Health(BaseModel):
    """Well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["up", "ready"]


@health.get("/healthz")
async def healthz(response: Response) -> Health:
    """The process is up."""
    response.headers["Cache-Control"] = "no-store"
    return Health(status="up")


@health.get("/readyz", responses=NOT_READY)
def readyz(request: Request, response: Response) -> Health:
    """The database answers, and its tables are those of this version."""
    context_of(request).readiness.require()
    response.headers["Cache-Control"] = "no-store"
    return Health(status="ready")


@health.get("/metrics", response_class=PlainTextResponse)
def measurements(request: Request) -> Response:
    """Requests and how long they took, in the text format of Prometheus; no tenant is named."""
    text = generate_latest(context_of(request).registry)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE_LATEST)


def create_app(settings: Settings, pool: ReadingPool, trust: Trust) -> FastAPI:
    """The HTTP API over an open pool. It sends no CORS headers: no page of another origin reads an answer."""
    app = FastAPI(
        title="execution-metrics",
        summary="How one organization's workflow jobs ended and how long they took.",
        version=version("execution-metrics"),
        # Their pages would load programs from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    registry, readiness = CollectorRegistry(), Readiness(pool.require_ready)
    app.state.context = Context(pool, trust, settings.rollup_plan, readiness, registry)
    for router in (routes.router, routes.definitions_router, health, pages.router):
        app.include_router(router)
    describe_problems(app)
    app.add_middleware(Guard, registry=registry)
    return app

"""The application: its routes, and what every answer passes through on its way out."""

from importlib.metadata import version

from fastapi import FastAPI

from pipelines.api import health, pages, routes
from pipelines.api.auth import Context, put_context
from pipelines.api.middleware import Guarded, Measured, Measurements, WithHeaders
from pipelines.api.problems import describe_problems
from pipelines.api.tokens import Trust
from pipelines.query.pool import Readiness, ReadingPool
from pipelines.settings import Settings


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
    measurements = Measurements()
    readiness = Readiness(pool.require_ready)
    put_context(app, Context(pool, trust, settings.rollup_plan, readiness, measurements))
    for router in (routes.router, routes.definitions_router, health.router, pages.router):
        app.include_router(router)
    describe_problems(app)
    # The last one added is the first that a request meets.
    app.add_middleware(Guarded)
    app.add_middleware(WithHeaders)
    app.add_middleware(Measured, measurements=measurements)
    return app

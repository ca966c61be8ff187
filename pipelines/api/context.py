"""What an application answers its requests with."""

from dataclasses import dataclass
from typing import cast

from fastapi import FastAPI, Request

from pipelines.api.measuring import Measurements
from pipelines.api.readiness import Readiness
from pipelines.api.trust import Trust
from pipelines.query.pool import ReadingPool
from pipelines.subjects.rollup import RollupPlan


@dataclass(frozen=True)
class Context:
    """Where the metrics are, whose tokens are believed, which combinations are stored, how it does."""

    pool: ReadingPool
    trust: Trust
    plan: RollupPlan
    readiness: Readiness
    measurements: Measurements


def put_context(app: FastAPI, context: Context) -> None:
    """Keep it where every request of the application finds it."""
    app.state.context = context


def context_of(request: Request) -> Context:
    """What `put_context` kept."""
    return cast(Context, request.app.state.context)

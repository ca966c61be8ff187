"""What every request passes through: headers for browsers, counts for Prometheus, an answer to a failure."""

import logging
import time
import traceback
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.api.problems import unexpected

_HEADERS: Final = {
    # One tenant's answer is kept by its own browser alone, and asked about again.
    "Cache-Control": "private, must-revalidate",
    "Vary": "Authorization, Accept",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class WithHeaders:
    """Adds them where an answer does not say otherwise itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, adding)


# Paths that nobody serves are as many as anybody likes to make up.
_NO_ROUTE: Final = "none"


class Measurements:
    """What one application counts, apart from every other in the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "status")
        self._requests = Counter(
            "execmetrics_http_requests", "Requests that were answered.", labels, registry=self.registry
        )
        self._durations = Histogram(
            "execmetrics_http_request_duration_seconds",
            "How long requests took to answer.",
            labels,
            registry=self.registry,
        )

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._durations.labels(route, str(status)).observe(seconds)


class Measured:
    """Counts every request of an application."""

    def __init__(self, app: ASGIApp, measurements: Measurements) -> None:
        self._app, self._measurements = app, measurements

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def noticing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, noticing)
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        self._measurements.add(route, status, time.perf_counter() - begun)


_log: Final = logging.getLogger(__name__)


class Guarded:
    """Lets no failure out: a server would write its words, which may quote somebody's rows, to its log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noticing(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noticing)
        except Exception as failure:
            frames = "".join(traceback.format_tb(failure.__traceback__))
            _log.error("An unexpected %s:\n%s", type(failure).__name__, frames)
            if not begun:
                await unexpected(scope["path"])(scope, receive, send)

"""What every request passes through: headers for browsers, counts for Prometheus, an answer to a failure."""

import logging
import time
import traceback
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.api.problems import unexpected

_log: Final = logging.getLogger(__name__)

_HEADERS: Final = {
    # One tenant's answer is kept by its own browser alone, and asked about again.
    "Cache-Control": "private, must-revalidate",
    "Vary": "Authorization, Accept",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}

# Paths that nobody serves are as many as anybody likes to make up.
_NO_ROUTE: Final = "none"


class Guard:
    """Counts requests, adds the headers that an answer does not set itself, and lets no failure out.

    A server would write the words of a failure, which may quote somebody's rows, to its log.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app, labels = app, ("route", "status")
        self._requests = Counter(
            "execmetrics_http_requests", "Requests that were answered.", labels, registry=registry
        )
        self._durations = Histogram(
            "execmetrics_http_request_duration_seconds",
            "How long requests took to answer.",
            labels,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as failure:
            frames = "".join(traceback.format_tb(failure.__traceback__))
            _log.error("An unexpected %s:\n%s", type(failure).__name__, frames)
            if not status:
                await unexpected(scope["path"])(scope, receive, sending)
        labels = getattr(scope.get("route"), "path", _NO_ROUTE), str(status)
        self._requests.labels(*labels).inc()
        self._durations.labels(*labels).observe(time.perf_counter() - begun)

"""How many requests there were and how long they took, for Prometheus; no label tells of whom."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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

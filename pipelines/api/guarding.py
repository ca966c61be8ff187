"""The last answer to a failure that nobody expected, and what is put on record of it."""

import logging
import traceback
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.api.problems import unexpected

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

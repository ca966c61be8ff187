"""What every command begins with: the settings, and databases to connect to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.postgres.connections import Databases
    from pipelines.settings import Settings


@contextmanager
def opened() -> Iterator[tuple[Databases, Settings]]:
    """Yield the databases and the settings; an embedded server runs meanwhile when no URL is set."""
    from pipelines.postgres.connections import open_databases
    from pipelines.settings import load_settings

    settings = load_settings()
    with open_databases(settings) as databases:
        yield databases, settings

"""What the commands of the HTTP API need beside the others."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import ApiNotInstalled


@contextmanager
def needing_the_api() -> Iterator[None]:
    """Raise `ApiNotInstalled` where a package of the extra `api` cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ApiNotInstalled(f"({missing.name})") from missing

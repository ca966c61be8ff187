"""The statements on the source that share their parts, put together from the files under sql/extract."""

from collections.abc import Iterable
from functools import cache

from pipelines.storage.asked import Asked
from pipelines.storage.statements import body, statement


def jobs_statement(asked: Asked) -> str:
    """The statement that reads what is asked for."""
    return _filled("extract/jobs.sql", asked=(asked.fragment,))


def digest_statement(narrowed: Iterable[str]) -> str:
    """The statement that digests the jobs that count, under these further conditions."""
    return _filled("extract/digest.sql", narrowed=tuple(f"extract/digest_of/{name}.sql" for name in narrowed))


@cache
def _filled(path: str, **parts: tuple[str, ...]) -> str:
    """A statement with its places filled by texts of other files: never by values."""
    text = statement(path).replace("{row_hash}", body("extract/row_hash.sql"))
    for place, paths in parts.items():
        text = text.replace(f"{{{place}}}", "\n".join(map(body, paths)))
    return text

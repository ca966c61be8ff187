"""The statements on the source that share their parts, put together from the files under sql/extract."""

from collections.abc import Iterable
from functools import cache

from pipelines.postgres.statements import body, statement
from pipelines.source.selections import Asked


def jobs_statement(asked: Asked) -> str:
    """The statement that reads what is asked for."""
    return _filled("source_jobs/jobs", asked=(asked.fragment,))


def digest_statement(narrowed: Iterable[str]) -> str:
    """The statement that digests the jobs that count, under these further conditions."""
    return _filled(
        "source_jobs/digest", narrowed=tuple(f"source_jobs/checksum_of_{name}" for name in narrowed)
    )


@cache
def _filled(path: str, **parts: tuple[str, ...]) -> str:
    """A statement with its places filled by texts of other files: never by values."""
    text = statement(path).replace("{row_hash}", body("source_jobs/row_hash"))
    for place, paths in parts.items():
        text = text.replace(f"{{{place}}}", "\n".join(map(body, paths)))
    return text

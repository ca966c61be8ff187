"""Which organization is meant by what somebody writes: its id, the source's own id of it, or its name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import md5
from uuid import UUID

from pipelines.errors import AmbiguousOrganization, UnknownOrganization
from pipelines.postgres.connections import Run, connect
from pipelines.postgres.schema_checks import require_analytics, require_source
from pipelines.postgres.statements import statement

# Organizations by id, with their names where they have one.
Known = Mapping[UUID, str | None]


def organization_called(text: str, known: Known) -> UUID:
    """The organization that a text means among the known ones; an id goes before a name.

    Raises `UnknownOrganization` and `AmbiguousOrganization`.
    """
    for key in _ids(text):
        if key in known:
            return key
    named = sorted(key for key, name in known.items() if text and name == text)
    if not named:
        raise UnknownOrganization(f"({text!r})")
    if len(named) > 1:
        raise AmbiguousOrganization(f"({text!r}: {', '.join(map(str, named))})")
    return named[0]


def organizations_called(
    asked: Sequence[str],
    run: Run,
    known: Callable[[Run], Known],
) -> list[UUID]:
    """The organizations that these texts mean, each once; names are looked up only if something is no id.

    Raises as `organization_called` does, and as what says which are known.
    """
    written = [id_written(text) for text in asked]
    there = known(run) if None in written else {}
    called = (key or organization_called(text, there) for key, text in zip(written, asked, strict=True))
    return list(dict.fromkeys(called))


def published(run: Run) -> Known:
    """The organizations that have metrics; raises `SchemaMissing`."""
    require_analytics(run)
    with connect(run.databases.analytics_url, run.settings) as connection:
        return dict(connection.execute(statement("dimension_tables/organization_names")).fetchall())


def in_source(run: Run) -> Known:
    """The organizations of the source; raises `SourceMissing`."""
    require_source(run)
    with connect(run.databases.source_url, run.settings) as connection:
        rows = connection.execute(statement("source/organizations")).fetchall()
    return {row[0]: row[1] for row in rows}


def in_either(run: Run) -> Known:
    """Both, by the names that the source has now."""
    return {**published(run), **in_source(run)}


def id_written(text: str) -> UUID | None:
    """The id that a text is in PostgreSQL's spelling, which needs no look-up; None for any other text."""
    with suppress(ValueError):
        key = UUID(text)
        return key if str(key) == text else None
    return None


def _ids(text: str) -> Iterator[UUID]:
    """The ids that a text may be: a UUID, and what the source's views make of an id that is none."""
    with suppress(ValueError):
        yield UUID(text)
    yield UUID(md5(text.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest())

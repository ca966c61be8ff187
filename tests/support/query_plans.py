"""Which statements a repository executes, and how the server answers them."""

from collections.abc import Iterator
from typing import Any, ClassVar

import psycopg


class Recorded(psycopg.Cursor[Any]):
    """A cursor that remembers what it was told to execute."""

    told: ClassVar[list[tuple[Any, Any]]] = []

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Recorded":
        self.told.append((query, params))
        return super().execute(query, params, **options)


def plan_of(
    connection: psycopg.Connection, query: Any, values: Any, *options: str
) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a statement's plan, each before those below it."""
    explained = f"EXPLAIN ({', '.join((*options, 'FORMAT JSON'))}) {query}"
    ((plan,),) = psycopg.Cursor(connection).execute(explained, values).fetchall()
    yield from below(plan[0]["Plan"])


def below(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's node and all below it."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from below(inner)

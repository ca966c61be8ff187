"""What all answers have in common."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.postgres.tables import aggregate_metrics


def stored(name: str, **options: Any) -> Any:
    """A field that means what the column of that name does."""
    return Field(description=aggregate_metrics.c[name].comment, **options)


class Answer(BaseModel):
    """An answer that is one line of a table, unless it says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def columns(self) -> Sequence[str]:
        """What the columns of its table are called."""
        return list(type(self).model_fields)

    def lines(self) -> Sequence[BaseModel]:
        """The lines of its table."""
        return (self,)


class Page(Answer):
    """A part of what there is, as large as was asked for."""

    next: str | None = Field(description="The `after` of the page that follows; null on the last one.")

"""What the statements on a snapshot take: every setting `execmetrics.*` of its session, by name and type."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from pipelines.calendars.calendar import LocalRange

Record = Mapping[str, object]

# These are handed over as JSON, other collections as arrays.
_AS_JSON: Final = frozenset({"cursors", "moments", "organizations", "time_zones"})


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """Settings for the rest of a transaction; one that is None stays what it was.

    `only_listed`, which statements take as `scope`, says whether the listed are read, or everybody. A
    range is handed over as `…_since`, `…_until` and `…_own`. `created_since` is midnight UTC. A `tolerance`
    of "" and a `latest` of "infinity" accept any future.
    """

    only_listed: bool | None = None
    organization_ids: Iterable[UUID] | None = None
    workflow_ids: Iterable[UUID] | None = None
    client_ids: Iterable[UUID] | None = None
    ids: Iterable[UUID] | None = None
    reserved_ids: Iterable[UUID] | None = None
    reserved_initiators: Iterable[str] | None = None
    days: Iterable[date] | None = None
    cursors: Sequence[Record] | None = None
    moments: Sequence[Record] | None = None
    organizations: Sequence[Record] | None = None
    created_since: date | None = None
    completed: LocalRange | None = None
    rows: LocalRange | None = None
    started: LocalRange | None = None
    earliest: datetime | None = None
    latest: datetime | Literal["infinity"] | None = None
    tolerance: timedelta | Literal[""] | None = None
    time_zones: Sequence[str] | None = None
    calendar_since: datetime | None = None
    calendar_until: datetime | None = None
    relation: str | None = None
    columns: Iterable[str] | None = None

    def texts(self) -> dict[str, str]:
        """Each setting by its whole name, as text that PostgreSQL reads."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        only_listed = given.pop("only_listed")
        texts: dict[str, str] = {}
        if only_listed is not None:
            texts["execmetrics.scope"] = "listed" if only_listed else "all"
        for name, value in given.items():
            if isinstance(value, LocalRange):
                texts |= value.settings(f"execmetrics.{name}")
            elif value is not None:
                texts[f"execmetrics.{name}"] = _text(name, value)
        return texts


def _text(name: str, value: Any) -> str:
    if name in _AS_JSON:
        return json.dumps(value, default=str)
    match value:
        case str() | datetime():
            return str(value)
        case date():
            return f"{value.isoformat()} 00:00Z"
        case timedelta():
            return f"{value.total_seconds()} seconds"
    # Ids, days and words: none of them needs quotes.
    return "{" + ",".join(map(str, value)) + "}"

"""How large a JSON value may be, measured as the constraints of the tables measure it."""

import json
import re
from decimal import Decimal
from typing import Final

from pipelines.errors import JsonNotStorable, JsonTooLarge
from pipelines.settings import Settings

# `5e-324` is written with 326 characters, so no text grows more than this when PostgreSQL writes it.
_GROWTH: Final = 55

# Made once: a log has a value in every line.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

# The escape itself, not the six characters after a backslash that is escaped.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def checked_json(value: object, column: str, settings: Settings) -> str | None:
    """A value as the text of a JSON parameter; None, which is NULL, stays None.

    Raises `JsonTooLarge`, which names the column, the size and the limit, and `JsonNotStorable`.
    """
    if value is None:
        return None
    written = json_text(value, column)
    size = json_size(written, at_most=settings.json_limit_bytes)
    if size > settings.json_limit_bytes:
        raise JsonTooLarge(f"({column}: {size:,} of {settings.json_limit_bytes:,} bytes)")
    return written


def json_text(value: object, column: str) -> str:
    """A value as JSON. Raises `JsonNotStorable` for what jsonb cannot hold."""
    try:
        written = _ENCODER.encode(value)
        written.encode()
    except (TypeError, ValueError, RecursionError):
        # Their words hold the value.
        raise JsonNotStorable(f"({column})") from None
    if "\\u0000" in written and _NUL.search(written):
        raise JsonNotStorable(f"({column})")
    return written


def json_size(written: str, *, at_most: int = 0) -> int:
    """How many bytes `jsonb::text` has for this JSON, or about as many where that is within `at_most`."""
    encoded = written.encode()
    if len(encoded) * _GROWTH <= at_most:
        return len(encoded)
    # Of keys that are there twice, and were numbers before, the last one stays.
    parsed = json.loads(written, parse_float=_as_long_as_numeric)
    return len(_ENCODER.encode(parsed).encode())


def _as_long_as_numeric(number: str) -> str:
    """A text that is written with as many characters, quotes included, as the number without an exponent."""
    decimal = Decimal(number)
    # There is no negative zero.
    return "0" * (len(f"{abs(decimal) if decimal.is_zero() else decimal:f}") - 2)

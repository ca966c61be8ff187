"""How large a JSON value may be, measured as the constraints of the tables measure it."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from secrets import token_hex
from typing import Final

from pipelines.errors import JsonNotStorable, JsonTooLarge
from pipelines.settings import Settings

# `5e-324` is written with 326 characters, so no text grows more than this when PostgreSQL writes it.
_GROWTH: Final = 55

# Made once: a log has a value in every line.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

_NULL: Final = b"null"

# The escape itself, not the six characters after a backslash that is escaped.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def checked_json(value: object, column: str, settings: Settings) -> str | None:
    """A value as the text of a JSON parameter; None, which is NULL, stays None.

    Raises `JsonTooLarge`, which names the column, the size and the limit, and `JsonNotStorable`.
    """
    if value is None:
        return None
    written = json_text(value, column)
    _check_size(written.encode(), column, settings)
    return written


def checked_json_of_many(values: Sequence[object], column: str, settings: Settings) -> list[bytes | None]:
    """The same of each value at once, which takes half the time. Raises the same."""
    if not values:
        return []
    # Nobody can have written it into a value.
    between = token_hex()
    with_marks: list[object] = [between] * (2 * len(values) - 1)
    with_marks[::2] = values
    written = json_text(with_marks, column).encode()[1:-1].split(f', "{between}", '.encode())
    if max(map(len, written)) * _GROWTH > settings.json_limit_bytes:
        for each in written:
            _check_size(each, column, settings)
    return [None if each == _NULL else each for each in written]


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
    return _size(written.encode(), at_most)


def _check_size(written: bytes, column: str, settings: Settings) -> None:
    size = _size(written, settings.json_limit_bytes)
    if size > settings.json_limit_bytes:
        raise JsonTooLarge(f"({column}: {size:,} of {settings.json_limit_bytes:,} bytes)")


def _size(written: bytes, at_most: int) -> int:
    size = len(written)
    if size * _GROWTH <= at_most:
        return size
    # Of keys that are there twice, and were numbers before, the last one stays.
    parsed = json.loads(written, parse_float=_as_long_as_numeric)
    return len(_ENCODER.encode(parsed).encode())


def _as_long_as_numeric(number: str) -> str:
    """A text that is written with as many characters, quotes included, as the number without an exponent."""
    decimal = Decimal(number)
    # There is no negative zero.
    return "0" * (len(f"{abs(decimal) if decimal.is_zero() else decimal:f}") - 2)

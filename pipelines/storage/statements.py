"""The statements under sql/, by path."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

_PACKAGED = files("pipelines").joinpath("_sql")
_CHECKOUT = Path(__file__).resolve().parents[2] / "sql"


@cache
def statement(path: str) -> str:
    """The text of one statement, such as `extract/jobs.sql`."""
    root = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return root.joinpath(path).read_text("utf-8")


def body(path: str) -> str:
    """The same without its header, to be put in the place that another statement has for it."""
    return re.sub(r"\A(?:--[^\n]*\n)+", "", statement(path)).strip()

"""The statements under sql/: a file is a group, and a statement begins with its line `-- name:`."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

_BEGINS: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def statement(name: str) -> str:
    """The text of a statement with its header, such as `watermarks/find`; raises `LookupError`."""
    group, _, within = name.partition("/")
    return _group(group)[within]


def body(name: str) -> str:
    """The same without its header, to be put into the place that another statement has for it."""
    return re.sub(r"\A(?:--[^\n]*\n)+", "", statement(name)).strip()


def render(name: str, places: Mapping[str, str]) -> str:
    """A statement, without its header, with each `{place}` filled: by names or by other statements.

    Values are never put into a text: they are parameters. Raises `LookupError` for a place without a filling.
    """
    return fill(body(name), places)


def fill(text: str, places: Mapping[str, str]) -> str:
    """The same for the text of a statement."""
    return re.sub(r"\{(\w+)\}", lambda place: places[place[1]], text)


def folder_of(name: str) -> Path:
    """Where the files of `sql` or of `migrations` are: in the package, else in the checkout beside it."""
    packaged = Path(str(files("pipelines"))) / f"_{name}"
    return packaged if packaged.is_dir() else packaged.parents[1] / name


@cache
def _group(group: str) -> dict[str, str]:
    _, *parts = _BEGINS.split(folder_of("sql").joinpath(f"{group}.sql").read_text("utf-8"))
    return dict(zip(parts[::2], (f"{text.rstrip()}\n" for text in parts[1::2]), strict=True))

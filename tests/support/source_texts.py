"""The texts of the repository, and the words that its Python code spells."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.places import ROOT


def python_files(*folders: str) -> list[Path]:
    """Every module below these folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def statements() -> dict[str, str]:
    """Every statement under sql/, with its header, by its name."""
    begins = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
    found: dict[str, str] = {}
    for path in sorted((ROOT / "sql").glob("*.sql")):
        _, *parts = begins.split(path.read_text("utf-8"))
        found |= {f"{path.stem}/{name}": text for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return found


def page_files() -> list[Path]:
    """Every file of the dashboard's page, its libraries included."""
    return sorted(path for path in (ROOT / "pipelines/web").rglob("*") if path.is_file())


def kept_files() -> list[Path]:
    """Every file that is committed, or would be by adding everything."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each string of a module with its line; docstrings and the pieces of f-strings too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@cache
def spelt_in_code() -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """The whole strings in the code, and a pattern for each f-string, its holes as groups."""
    words: set[str] = set()
    patterns: list[str] = []
    for path in python_files("pipelines", "assets", "tests/bench"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
            elif isinstance(node, ast.JoinedStr) and len(node.values) > 1:
                texts = (each.value if isinstance(each, ast.Constant) else None for each in node.values)
                patterns.append("".join("(.+)" if text is None else re.escape(str(text)) for text in texts))
    return frozenset(words), tuple(re.compile(pattern) for pattern in {*patterns} if pattern.strip("(.+)"))


@cache
def can_be_spelt(word: str) -> bool:
    """Whether the code spells this word, whole or by filling an f-string with words that it spells."""
    words, patterns = spelt_in_code()
    if word in words:
        return True
    matches = (pattern.fullmatch(word) for pattern in patterns)
    return any(all(can_be_spelt(part) for part in match.groups()) for match in matches if match)

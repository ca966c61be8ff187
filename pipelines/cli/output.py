"""What a person or a program reads: tables or a JSON document on stdout, sentences and progress on stderr."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT

# Wide enough for four UUIDs in a row, where no terminal sets a limit.
_PIPE_WIDTH: Final = 240


def print_json(report: Any, **more: Any) -> None:
    """Print a report dataclass, or anything made of plain values, as one document with `more` keys."""
    sys.stdout.write(json.dumps(plain(report) | plain(more), indent=2) + "\n")


def plain(value: Any) -> Any:
    """The same with UUIDs and times as strings, and dataclasses and tuples as JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, UUID) else value


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", decimals: int = 3
) -> None:
    """Print rows under their column names, if they have any; numbers stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = list(rows)
    plainly: dict[str, Any] = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0)}
    table = Table(title=title or None, title_justify="left", show_header=any(columns), **plainly)
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in cells)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(shown(value, decimals)) for value in row))
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(file=sys.stdout, width=width, highlight=False, emoji=False).print(table)


def print_record(record: dict[str, Any]) -> None:
    """Print names and their values, one pair a line."""
    print_table(["", ""], [(name.replace("_", " "), value) for name, value in record.items()])


def print_line(sentence: str = "") -> None:
    """Print one line of data."""
    sys.stdout.write(printable(sentence) + "\n")


def tell(sentence: str) -> None:
    """Say something beside the data."""
    sys.stderr.write(printable(sentence) + "\n")


def shown(value: Any, decimals: int = 3) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def printable(text: str) -> str:
    """The text without the control characters that a name may hold and a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


WORKFLOWS: Final = {ALL_INITIATORS: ALL_WORKFLOWS}
CLIENTS: Final = {ALL_INITIATORS: ALL_CLIENTS, "none": NO_CLIENT}


def cell_shown(cell: Mapping[str, UUID | str]) -> str:
    """The dimensions of a cell in words, such as `workflow all, client none`."""
    words: dict[Any, Any] = {meant: word for each in (WORKFLOWS, CLIENTS) for word, meant in each.items()}
    return ", ".join(f"{name.rpartition('_')[0]} {words.get(value, value)}" for name, value in cell.items())


def changes_shown(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, names: Iterable[str]
) -> list[str]:
    """Each of these figures before and after; None is a cell that is not there."""
    before, after = old or {}, new or {}
    return [f"{shown(before.get(name))} \N{RIGHTWARDS ARROW} {shown(after.get(name))}" for name in names]


@contextmanager
def watched() -> Iterator[Callable[[str, int], None] | None]:
    """Yield what long work reports its stages and rows to; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    stage, rows_done = TextColumn("{task.description:<8}"), TextColumn("{task.completed:,.0f} rows")
    columns = (SpinnerColumn(), stage, BarColumn(), rows_done, TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        stages: dict[str, int] = {}

        def report(stage: str, rows: int) -> None:
            if stage not in stages:
                for earlier in stages.values():
                    progress.stop_task(progress.tasks[earlier].id)
                # How much there is to do is known at the end only, so the bar pulses.
                stages[stage] = progress.add_task(stage, total=None)
            progress.update(progress.tasks[stages[stage]].id, completed=rows)

        yield report


@contextmanager
def spinning(what: str) -> Iterator[None]:
    """Show on a terminal that something goes on; elsewhere say once what it is."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"{what}\n")
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield

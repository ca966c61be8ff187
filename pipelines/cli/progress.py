"""How far long work is, drawn on stderr for whoever watches a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watched() -> Iterator[Callable[[str, int], None] | None]:
    """Yield what long work reports its stages and rows to; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        TimeElapsedColumn(),
    )
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

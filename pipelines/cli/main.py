"""The console command `execmetrics`: its commands, and how each of them ends."""

import os
import sys
import traceback
from collections import UserDict
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pipelines.cli.output import print_line, tell
from pipelines.cli.signals import INTERRUPTED, StopSignals
from pipelines.errors import ExecutionMetricsError, is_failure

# The module under pipelines.cli and the name in it, in the order of the help.
_PLACES: Final = {
    "migrate": ("databases", "migrate"),
    "import": ("databases", "import_trace"),
    "refresh": ("refresh", "refresh"),
    "reconcile": ("refresh", "reconcile"),
    "rebuild": ("refresh", "rebuild"),
    "verify": ("reports", "verify"),
    "explain": ("reports", "explain"),
    "status": ("reports", "status"),
    "grants": ("databases", "grants"),
    "doctor": ("doctor", "doctor"),
    "psql": ("databases", "psql"),
    "serve": ("serve", "serve"),
    "token": ("serve", "token"),
    "dev": ("dev", "dev"),
    "demo": ("dev", "demo"),
    "metadata": ("metadata", "app"),
}


class _Commands(UserDict[str, Any]):
    """The commands by their names; the module of one is imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module, attribute = self.data[name]
        found = getattr(import_module(f"pipelines.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            return get_command(found)
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        return get_command(alone)


class _Program(TyperGroup):
    """The program as Typer runs it: the help looks every command up, any other command line only its own."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(_PLACES)


app: Final = typer.Typer(
    name="execmetrics",
    cls=_Program,
    no_args_is_help=True,
    add_completion=False,
    # Local variables hold patients' rows and passwords.
    pretty_exceptions_enable=False,
)


def run() -> None:
    """Carry out the command line of this process and exit."""
    signals = StopSignals()
    signals.install()
    for stream in (sys.stdout, sys.stderr):
        # A name must not end a command only because the terminal cannot show it.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = main(sys.argv[1:])
    sys.exit(signals.exit_code if signals.received else code)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code; whatever fails is said on stderr."""
    try:
        return app(args=list(arguments), prog_name="execmetrics", standalone_mode=False) or 0
    except ExecutionMetricsError as failure:
        return _told(failure, failure)
    except typer.TyperException as misused:
        # Without a command the help is what is said.
        if message := misused.format_message().rstrip("."):
            tell(f"{message}. See execmetrics --help.")
        return misused.exit_code
    except BaseException as unexpected:
        if not is_failure(unexpected):
            raise
        if isinstance(unexpected.__context__, KeyboardInterrupt):
            # Cleaning up after Ctrl-C met what Ctrl-C had broken.
            return INTERRUPTED
        from pipelines.postgres.failures import meaning_of

        if meant := meaning_of(unexpected):
            return _told(meant, unexpected)
        _tell_where(unexpected)
        return 1


def _told(meant: ExecutionMetricsError, failure: BaseException) -> int:
    """Say what a failure means, and give its exit code; who debugs sees how it came about."""
    if os.environ.get("EXECMETRICS_DEBUG"):
        traceback.print_exception(failure)
    tell(str(meant))
    return meant.exit_code


def _tell_where(unexpected: BaseException) -> None:
    """Name the kind of failure and the lines it came from; its own words may quote somebody's rows."""
    frames = "".join(traceback.format_tb(unexpected.__traceback__))
    sys.stderr.write(frames)
    tell(f"An unexpected {type(unexpected).__name__}; the lines above are where, please report them.")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print_line(f"execution-metrics {version('execution-metrics')}")
        raise typer.Exit


@app.callback()
def _execmetrics(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Exact, tenant-safe execution metrics of workflow jobs."""

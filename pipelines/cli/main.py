"""The console command `execmetrics`: its commands, and how each of them ends."""

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

from pipelines.cli.demo import demo
from pipelines.cli.dev import dev
from pipelines.cli.doctor import doctor
from pipelines.cli.explain import explain
from pipelines.cli.grants import grants
from pipelines.cli.import_trace import import_trace
from pipelines.cli.metadata import app as metadata
from pipelines.cli.migrate import migrate
from pipelines.cli.output import print_line, tell
from pipelines.cli.rebuild import rebuild
from pipelines.cli.refresh import reconcile, refresh
from pipelines.cli.serve import serve
from pipelines.cli.signals import INTERRUPTED, StopSignals
from pipelines.cli.status import status
from pipelines.cli.token import token
from pipelines.cli.verify import verify
from pipelines.errors import ExecutionMetricsError

app: Final = typer.Typer(
    name="execmetrics",
    no_args_is_help=True,
    add_completion=False,
    # Local variables hold patients' rows and passwords.
    pretty_exceptions_enable=False,
)
_COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "migrate": migrate,
    "import": import_trace,
    "refresh": refresh,
    "reconcile": reconcile,
    "rebuild": rebuild,
    "verify": verify,
    "explain": explain,
    "status": status,
    "grants": grants,
    "doctor": doctor,
    "serve": serve,
    "token": token,
    "dev": dev,
    "demo": demo,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
app.add_typer(metadata, name="metadata")


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
        tell(str(failure))
        return failure.exit_code
    except typer.TyperException as misused:
        # Without a command the help is what is said.
        if message := misused.format_message().rstrip("."):
            tell(f"{message}. See execmetrics --help.")
        return misused.exit_code
    except Exception as unexpected:
        if isinstance(unexpected.__context__, KeyboardInterrupt):
            # Cleaning up after Ctrl-C met what Ctrl-C had broken.
            return INTERRUPTED
        _tell_where(unexpected)
        return 1


def _tell_where(unexpected: Exception) -> None:
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

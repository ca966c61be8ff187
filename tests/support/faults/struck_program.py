"""The program `execmetrics`, to which something happens for good when it passes a point of a number.

Takes what happens, `killed` or `full` (no file may grow any more beyond so many bytes), the point's number
counted from 0, the bytes, and the command line.
"""

import os
import resource
import signal
import sys
from itertools import count

from pipelines.cli.main import main
from pipelines.fault_points import FaultPoint, watched_by


def strike(happens: str, size: int) -> None:
    """Let it happen."""
    if happens == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


if __name__ == "__main__":
    happens, at, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    numbers = count()

    def watch(_point: FaultPoint) -> None:
        """Count."""
        if next(numbers) == at:
            strike(happens, size)

    with watched_by(watch):
        code = main(sys.argv[4:])
    sys.exit(code)

"""Where things lie that tests look at."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

# Real traces with independent figures; not part of this repository.
TRACES: Final = ROOT.parent / "shared" / "data"

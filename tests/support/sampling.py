"""How much of what can be tried is tried: a sample by `make test`, everything by `make test-all`."""

import os
from typing import Final

# Both servers for each test that has them, every fault point and statement, long random histories.
EVERYTHING: Final = os.environ.get("TESTS") == "all"

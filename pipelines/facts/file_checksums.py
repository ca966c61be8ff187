"""A number for what each file of the facts holds: most changed bytes could be read without complaint."""

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# Delta Lake minds no name that begins so.
_RECORD: Final = "_checksums.json"
_BLOCK: Final = 1 << 20

LOG: Final = "_delta_log/"


class Checksums:
    """What was recorded of the files in a folder when they were new; Delta Lake never writes one again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._recorded: dict[str, tuple[int, int]] = {
                name: (modified, number)
                for name, (modified, number) in json.loads((folder / _RECORD).read_bytes()).items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            self._recorded = {}

    def discard(self) -> None:
        """Forget everything, because the files that come have the names of others."""
        self._recorded = {}
        (self._folder / _RECORD).unlink(missing_ok=True)

    def changed(self, names: Iterable[str], *, touched_or_not: bool = False) -> str | None:
        """The first of these files that is not as it was recorded, if any; one that is gone is not missed.

        Only those with another time of modification are read, unless all are asked for.
        """
        for name in filter(self._recorded.__contains__, names):
            with suppress(FileNotFoundError):
                if self._differs(name, touched_or_not=touched_or_not):
                    return name
        return None

    def record(self, *, since_version: int) -> None:
        """Record the files that are new, and forget those that are gone; a full disk leaves it for later.

        Of the log, all past that version is new, also where a commit of the same number was lost before.
        """
        self._recorded = {name: at for name, at in self._recorded.items() if _version(name) <= since_version}
        with suppress(OSError):
            self._recorded = {name: self._entry(name) for name in self._present()}
            new = self._folder / f"{_RECORD}.new"
            new.write_text(json.dumps(self._recorded))
            new.replace(self._folder / _RECORD)

    def _present(self) -> Iterator[str]:
        """The names of all files that hold rows, and of the commits in the log."""
        root = f"{self._folder}/"
        for folder, _, names in os.walk(root):
            within = Path(folder, "").as_posix().removeprefix(root) + "/"
            endings = (".parquet", ".json") if within == LOG else ".parquet"
            yield from (within + name for name in names if name.endswith(endings))

    def _entry(self, name: str) -> tuple[int, int]:
        path = self._folder / name
        modified = path.stat().st_mtime_ns
        was = self._recorded.get(name)
        if was is None:
            return modified, _checksum(path)
        # A copy has other times; what was changed keeps the number that gives it away.
        return was if was[0] == modified or self._differs(name) else (modified, was[1])

    def _differs(self, name: str, *, touched_or_not: bool = False) -> bool:
        path, (modified, number) = self._folder / name, self._recorded[name]
        touched = path.stat().st_mtime_ns != modified
        return (touched or touched_or_not) and _checksum(path) != number


def _version(name: str) -> int:
    """Which commit a file of the log belongs to; other files have names that never come again."""
    number = name.removeprefix(LOG).partition(".")[0]
    return int(number) if name.startswith(LOG) and number.isdecimal() else 0


def _checksum(path: Path) -> int:
    number = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            number = zlib.crc32(block, number)
    return number

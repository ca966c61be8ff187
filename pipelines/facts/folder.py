"""Where facts lie, their log, and folders that were set aside: what `status` asks, without Polars."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines.errors import (
    FactsNotReadable,
    FactsUnusable,
    PathNotUsable,
    StoreRefused,
    StoreUnreachable,
)
from pipelines.postgres.failures import obstacle_of, words_of
from pipelines.settings import is_remote

LOG: Final = "_delta_log"

_ASIDE: Final = ".unusable-"
_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"


def newest_version(location: str) -> int:
    """The number of the newest commit, 0 before the first one; raises `FactsUnusable`, `FactsNotReadable`."""
    try:
        table = table_at(location)
    except (DeltaError, OSError) as broken:
        refuse_what_is_no_damage(location, broken)
        raise FactsUnusable(f"({shown(location)})") from broken
    return int(table.version()) if table else 0


def table_at(location: str) -> DeltaTable | None:
    """The table, or None where none is; raises `FactsUnusable` when its log has an empty file."""
    if folder := local_folder(location):
        # A power cut may leave a commit empty, which Delta Lake takes for one that changed nothing.
        log = (entry for kind in ("*.json", "*.parquet") for entry in (folder / LOG).glob(kind))
        if empty := next((entry.name for entry in log if not entry.stat().st_size), None):
            raise FactsUnusable(f"({shown(location)}: {empty} is empty)")
    try:
        return DeltaTable(location)
    except TableNotFoundError:
        return None


def refuse_what_is_no_damage(location: str, failure: BaseException) -> None:
    """Raise what stood in the way where the files may be sound.

    One of `FactsNotReadable`, `PathNotUsable`, `StoreRefused` and `StoreUnreachable`.
    """
    # What Delta Lake says of a store that is none of those it knows.
    unreachable = is_remote(location) and str(failure).startswith("Generic ")
    if obstacle := obstacle_of(failure) or (StoreRefused if unreachable else None):
        known = obstacle in (PathNotUsable, StoreRefused, StoreUnreachable)
        means = obstacle if known else FactsNotReadable
        raise means(f"({shown(location)}: {words_of(failure)})") from failure


def local_folder(location: str) -> Path | None:
    """The folder of facts that lie on a disk of this machine."""
    return None if is_remote(location) else Path(location)


def shown(location: str) -> str:
    """The location as it may be shown: what follows a question mark may be a key to the store."""
    return location.partition("?")[0] if is_remote(location) else location


def set_aside(location: str) -> Path | None:
    """Rename a folder of unusable facts, so that the next run starts anew; None when no folder is there.

    Raises `FactsUnusable` when they lie in an object store, where nothing can be renamed.
    """
    folder = local_folder(location)
    if folder is None:
        raise FactsUnusable(f"({shown(location)})")
    try:
        return folder.rename(folder.with_name(f"{folder.name}{_ASIDE}{datetime.now(UTC):{_STAMP}}"))
    except FileNotFoundError:
        return None


def find_set_aside(location: str) -> dict[Path, datetime]:
    """The folders that were set aside from this location, and when; none in an object store."""
    folder = local_folder(location)
    if folder is None or not folder.parent.is_dir():
        return {}
    there = {aside: _set_aside_at(aside, f"{folder.name}{_ASIDE}") for aside in folder.parent.iterdir()}
    return {aside: since for aside, since in sorted(there.items()) if since}


def remove_folder(folder: Path) -> int:
    """Remove a folder that was set aside; return how many files it was."""
    files = sum(entry.is_file() for entry in folder.rglob("*"))
    shutil.rmtree(folder)
    return files


def _set_aside_at(folder: Path, beginning: str) -> datetime | None:
    if not folder.name.startswith(beginning):
        return None
    try:
        return datetime.strptime(folder.name.removeprefix(beginning), _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None

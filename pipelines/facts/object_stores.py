"""Folders and object stores behind one interface, in a file of its own: facts are read without obstore."""

import os
from pathlib import Path

from obstore.store import LocalStore, ObjectStore, from_url

from pipelines.settings import is_remote


def store_at(location: str) -> ObjectStore:
    """The folder or object store at a location; a folder that is missing is made."""
    if is_remote(location):
        return from_url(location)
    # Other accounts of the machine may not read it.
    Path(location).mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalStore(location)


def settle(location: str, name: str) -> None:
    """Have the disk hold a file of a folder, and the names leading to it; an object store does so itself."""
    if is_remote(location):
        return
    folder = Path(location)
    path = folder / name
    for each in (path, *path.relative_to(folder).parents):
        handle = os.open(folder / each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""Values too large for a row, in a folder or an object store: named by what they hold, apart by tenant."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from pipelines.errors import BlobDamaged, BlobsNotUsable, InvalidSetting
from pipelines.postgres.failures import said_of
from pipelines.settings import Settings, is_remote, located

_NO_STORE: Final = "EXECMETRICS_BLOBS_URL is not the URL of an object store."

# The organization that a definition belongs to, and the hash of the definition.
_REFERENCE: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/definitions/[0-9a-f]{64}")


@dataclass(frozen=True)
class Blob:
    """What a row keeps of a blob, to find it and to see that it is whole."""

    reference: str
    size_bytes: int
    sha256: str


class BlobStore:
    """Blobs by reference: organization, kind and hash. Raises `BlobsNotUsable` where the store fails."""

    def __init__(self, store: ObjectStore, location: str) -> None:
        self._store, self._location = store, location

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store that the settings name. Raises `InvalidSetting` and `BlobsNotUsable`."""
        url = settings.blobs_url
        if url and not urlsplit(url).scheme:
            raise InvalidSetting(_NO_STORE)
        location = located(url or str(settings.home.resolve() / "blobs"))
        try:
            return cls(store_at(location), location)
        except OSError as failed:
            raise BlobsNotUsable(said_of(failed)) from failed
        except (BaseError, ValueError) as refused:
            raise InvalidSetting(_NO_STORE) from refused

    def keep(self, organization_id: UUID, content: bytes) -> Blob:
        """Write a definition so that it outlives a power cut, also one that is there already."""
        checksum = sha256(content).hexdigest()
        reference = f"{organization_id}/definitions/{checksum}"
        with _using():
            obstore.put(self._store, reference, content)
            settle(self._location, reference)
        return Blob(reference, len(content), checksum)

    def read(self, blob: Blob) -> bytes:
        """What it holds. Raises `BlobDamaged` unless that is what was written."""
        try:
            with _using():
                content = bytes(obstore.get(self._store, blob.reference).bytes())
        except BlobsNotUsable as failed:
            if isinstance(failed.__cause__, FileNotFoundError):
                raise BlobDamaged from failed
            raise
        if len(content) != blob.size_bytes or sha256(content).hexdigest() != blob.sha256:
            raise BlobDamaged
        return content

    def find_written_before(self, moment: datetime) -> dict[str, int]:
        """The definitions that were written, or written again, before a moment, and their sizes in bytes."""
        with _using():
            return {
                each["path"]: each["size"]
                for page in obstore.list(self._store)
                for each in page
                if each["last_modified"] < moment and _REFERENCE.fullmatch(each["path"])
            }

    def delete(self, references: Sequence[str]) -> None:
        """Remove blobs; one that is gone already is gone."""
        with _using():
            for reference in references:
                try:
                    obstore.delete(self._store, reference)
                except FileNotFoundError:
                    continue


@contextmanager
def _using() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as failed:
        raise BlobsNotUsable(said_of(failed)) from failed


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

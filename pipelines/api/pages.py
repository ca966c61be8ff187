"""The dashboard's page: files that are the same for everybody, and say nothing about anybody."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

from pipelines.api.formats import is_known

router: Final = APIRouter(include_in_schema=False)

FOLDER: Final = Path(__file__).parents[1] / "web"

_INDEX: Final = "index.html"

# What the machine believes about endings must not decide whether a browser runs a module.
_MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

_HEADERS: Final = {
    # Kept, and asked about before each use: after an update no old module meets a new one.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent, and compressed."""

    media_type: str
    plain: bytes
    compressed: bytes
    tag: str


@cache
def page_files() -> Mapping[str, PageFile]:
    """Every file of the page, by its path below the folder."""
    found = (path for path in FOLDER.rglob("*") if path.is_file())
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in found}


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page itself."""
    return _sent(request, page_files()[_INDEX])


@router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
async def page_file(request: Request, name: str) -> Response:
    """What the page loads: its style, its modules, its icon."""
    file = page_files().get(name)
    if file is None or name == _INDEX:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return _sent(request, file)


def _read(path: Path) -> PageFile:
    plain = path.read_bytes()
    return PageFile(
        media_type=_MEDIA_TYPES.get(path.suffix, "text/plain"),
        plain=plain,
        compressed=gzip.compress(plain, mtime=0),
        tag=f'W/"{hashlib.sha256(plain).hexdigest()[:32]}"',
    )


def _sent(request: Request, file: PageFile) -> Response:
    headers = _HEADERS | {"ETag": file.tag}
    if is_known(file.tag, request.headers.get("if-none-match")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.compressed, headers=headers, media_type=file.media_type)
    return Response(file.plain, headers=headers, media_type=file.media_type)

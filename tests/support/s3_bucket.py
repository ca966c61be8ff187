"""A bucket that speaks as much of the S3 protocol as blobs need, over HTTP on this machine."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

WRITTEN = datetime(2024, 1, 31, 12, tzinfo=UTC)


class Bucket(ThreadingHTTPServer):
    """Objects by key; everything was written at one moment."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.objects: dict[str, bytes] = {}


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        self.server.objects[self._key()] = self._body()
        self._answer(200)

    def do_GET(self) -> None:
        if "list-type=2" in self.path:
            listed = "".join(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
                f"<LastModified>{WRITTEN:%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
                for key, content in self.server.objects.items()
            )
            self._answer(200, f"<ListBucketResult>{listed}</ListBucketResult>".encode())
        elif self._key() in self.server.objects:
            self._answer(200, self.server.objects[self._key()])
        else:
            self._answer(404)

    def do_POST(self) -> None:
        for key in re.findall(rb"<Key>(.*?)</Key>", self._body()):
            del self.server.objects[key.decode()]
            self._answer(200, b"<DeleteResult><Deleted><Key>%s</Key></Deleted></DeleteResult>" % key)

    def _key(self) -> str:
        return urlsplit(self.path).path.removeprefix("/bucket/")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"any"')
        self.send_header("Last-Modified", f"{WRITTEN:%a, %d %b %Y %H:%M:%S} GMT")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def open_bucket() -> Iterator[Bucket]:
    """Yield a bucket called `bucket` that answers."""
    with Bucket() as bucket:
        threading.Thread(target=bucket.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield bucket
        bucket.shutdown()

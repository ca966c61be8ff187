"""A bucket that speaks as much of the S3 protocol as blobs and facts need, over HTTP on this machine."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.places import ROOT

# How some access keys are answered, whatever they ask for.
REFUSED = {
    "unknown": (403, "InvalidAccessKeyId"),
    "forbidden": (403, "AccessDenied"),
    "hurried": (503, "SlowDown"),
}

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

    def parse_request(self) -> bool:
        """Refuse some access keys, and what is for another bucket."""
        if not super().parse_request():
            return False
        signed_by = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        is_ours = urlsplit(self.path).path.split("/")[1] == "bucket"
        refusal = REFUSED.get(signed_by) or (None if is_ours else (404, "NoSuchBucket"))
        if refusal is None:
            return True
        self._body()
        status, code = refusal
        self._answer(status, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode())
        return False

    def do_PUT(self) -> None:
        content = self._body()
        if self.headers["If-None-Match"] and self._key() in self.server.objects:
            self._answer(412)
            return
        self.server.objects[self._key()] = content
        self._answer(200)

    def do_GET(self) -> None:
        if "list-type=2" in self.path:
            self._answer(200, f"<ListBucketResult>{self._listed()}</ListBucketResult>".encode())
        elif self._key() in self.server.objects:
            content, asked = self.server.objects[self._key()], self.headers["Range"]
            if asked is None:
                self._answer(200, content)
                return
            first, _, last = asked.removeprefix("bytes=").partition("-")
            since = int(first) if first else max(len(content) - int(last), 0)
            until = min(int(last) + 1, len(content)) if first and last else len(content)
            self._answer(206, content[since:until], f"bytes {since}-{until - 1}/{len(content)}")
        else:
            self._answer(404)

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        self.server.objects.pop(self._key(), None)
        self._answer(204)

    def do_POST(self) -> None:
        for key in re.findall(rb"<Key>(.*?)</Key>", self._body()):
            del self.server.objects[key.decode()]
            self._answer(200, b"<DeleteResult><Deleted><Key>%s</Key></Deleted></DeleteResult>" % key)

    def _listed(self) -> str:
        asked = dict(parse_qsl(urlsplit(self.path).query))
        prefix, after, cut = asked.get("prefix", ""), asked.get("start-after", ""), asked.get("delimiter")
        keys = [key for key in sorted(self.server.objects) if key.startswith(prefix) and key > after]
        beneath = {key: key[len(prefix) :].partition(cut) if cut else (key, "", "") for key in keys}
        written = f"<LastModified>{WRITTEN:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        sizes = {key: len(self.server.objects[key]) for key, (_, folder, _) in beneath.items() if not folder}
        folders = sorted({f"{prefix}{name}{cut}" for name, is_folder, _ in beneath.values() if is_folder})
        listed = [
            f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size>{written}</Contents>"
            for key, size in sizes.items()
        ]
        listed += [f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders]
        return "".join(listed)

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path.removeprefix("/bucket/"))

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def _answer(self, status: int, body: bytes = b"", content_range: str | None = None) -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"any"')
        self.send_header("Last-Modified", f"{WRITTEN:%a, %d %b %Y %H:%M:%S} GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def open_bucket() -> Iterator[Bucket]:
    """Yield a bucket called `bucket` that answers."""
    with Bucket() as bucket:
        threading.Thread(target=bucket.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield bucket
        bucket.shutdown()


@contextmanager
def bucket_of_its_own() -> Iterator[str]:
    """Yield the address of one in another process, which answers who does not let go of Python meanwhile."""
    serving = [sys.executable, "-m", __name__]
    with subprocess.Popen(serving, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    with Bucket() as alone:
        sys.stdout.write(f"http://127.0.0.1:{alone.server_port}\n")
        sys.stdout.flush()
        alone.serve_forever()

"""The page's files: served as they are, from one place, and what came from others is what they published."""

import gzip
import hashlib
import json
import re

import pytest

from pipelines.api.app import create_app
from pipelines.api.auth import trusting
from pipelines.api.pages import FOLDER, page_files
from pipelines.query.pool import ReadingPool
from pipelines.settings import load_settings
from tests.postgres.api.conftest import AUDIENCE, SECRET, TestClient

VENDORED = FOLDER / "vendor"
OURS = sorted(path for path in FOLDER.rglob("*") if path.is_file() and VENDORED not in path.parents)
MANIFEST = json.loads((VENDORED / "manifest.json").read_text("utf-8"))

# A name of a language, which nothing is loaded from.
NAMESPACE = "http://www.w3.org/2000/svg"


def test_vendored_files_are_those_that_were_published() -> None:
    """The manifest names every one with its version and its sum, and each still has it."""
    for file in MANIFEST["files"]:
        found = (VENDORED / MANIFEST["name"] / file["name"]).read_bytes()

        assert hashlib.sha256(found).hexdigest() == file["sha256"], file["name"]
    held = {path.name for path in (VENDORED / MANIFEST["name"]).iterdir()}
    assert held == {file["name"] for file in MANIFEST["files"]}
    assert (MANIFEST["name"], MANIFEST["version"]) == ("echarts", "6.1.0")
    # Whoever updates it finds each file again.
    assert all(file["package"] and file["path_in_package"] for file in MANIFEST["files"])


def test_vendored_files_come_with_their_licences() -> None:
    """Apache's licence and notice, and those of the parts which came from elsewhere."""
    folder = VENDORED / "echarts"

    assert MANIFEST["license"] == "Apache-2.0"
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")
    assert "Apache ECharts" in (folder / "NOTICE").read_text("utf-8")
    assert "Bostock" in (folder / "LICENSE-d3").read_text("utf-8")
    assert "Baidu" in (folder / "LICENSE-zrender").read_text("utf-8")


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_file_of_the_page_names_another_origin_or_makes_markup(path) -> None:
    """Nothing is fetched from elsewhere, nobody is linked to, and a name that somebody typed becomes text."""
    text = path.read_text("utf-8").replace(NAMESPACE, "")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"

    assert re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+", text) == []
    assert re.findall(forbidden, text) == []


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    """The content security policy would refuse it, as it should refuse an intruder's."""
    text = (FOLDER / "index.html").read_text("utf-8")

    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""]


def test_dark_is_dark_however_it_came_about() -> None:
    """The system's wish and a person's choice give the same colours, and name each that light has."""
    text = (FOLDER / "page.css").read_text("utf-8")

    light, *dark = [
        re.findall(r"(--[\w-]+): ([^;]+);", block) for block in re.findall(r":root[^{]*\{([^}]+)\}", text)
    ]

    assert len(dark) == 2
    assert dark[0] == dark[1]
    assert [name for name, _ in light if name != "--font"] == [name for name, _ in dark[0]]


def test_every_module_is_there_and_is_needed() -> None:
    """Each name that is imported is a file, and each file is imported."""
    modules = {path.name for path in OURS if path.suffix == ".js"}
    imported = {
        name
        for path in OURS
        if path.suffix == ".js"
        for name in re.findall(r'from "\./(\w+\.js)"', path.read_text("utf-8"))
    }

    assert imported | {"main.js"} == modules


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix == ".js"], ids=lambda path: path.name)
def test_a_module_opens_with_a_sentence(path) -> None:
    """What is inside, as every module of this house says first."""
    assert re.match(r"// [A-Z0-9][^\n]+[.:]\n", path.read_text("utf-8"))


@pytest.fixture(scope="module")
def client() -> TestClient:
    """The application over a database that does not answer: its page needs none."""
    url = "postgresql://reader@127.0.0.1:1/metrics"
    settings = load_settings(database_url=url)
    return TestClient(create_app(settings, ReadingPool(url, settings), trusting(SECRET, AUDIENCE)))


def test_the_page_is_at_the_root(client: TestClient) -> None:
    """Without a token, under the same policy as every answer; it is asked about again before each use."""
    answer = client.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'self'; frame-ancestors 'none'"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text == (FOLDER / "index.html").read_text("utf-8")
    again = client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("main.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("vendor/manifest.json", "application/json"),
        ("vendor/echarts/LICENSE", "text/plain; charset=utf-8"),
    ],
)
def test_a_file_is_sent_as_what_it_is(client: TestClient, name: str, media_type: str) -> None:
    """Compressed for whoever takes that, and the same for both."""
    path = f"/page/{name}"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})

    assert plain.headers["content-type"] == packed.headers["content-type"] == media_type
    assert plain.content == packed.content == (FOLDER / name).read_bytes()
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(page_files()[name].compressed) == plain.content
    assert client.head(path).headers["content-type"] == media_type


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/index.html",
        "/page/../pages.py",
        "/page/%2e%2e/pages.py",
        "/page/..%2fpages.py",
        "/page//etc/passwd",
        "/page/vendor",
    ],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    """No folder, and nothing above it."""
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"

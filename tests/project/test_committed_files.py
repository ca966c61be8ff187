"""What the repository keeps, and what it must not."""

import re

from tests.support.source_texts import ROOT, kept_files, python_files, strings

# The oracles of the tests say sentinels in their own words; the model is where they are defined.
HOME_OF_SENTINELS = ROOT / "pipelines" / "subjects" / "dimensions.py"

# One file, as its project publishes it; its sum is in a manifest.
CHARTS = ROOT / "pipelines/web/vendor/echarts/echarts.esm.min.js"

# A word of its own, which happens to be spelt the same: how far an extraction reaches.
OTHER_WORDS = {(ROOT / "pipelines" / "postgres" / "session_settings.py", "all")}


def test_sentinels_are_spelt_in_one_module() -> None:
    """A value that means "all", "none" or "unknown" has a name, and only its module knows the value."""
    sentinel = re.compile("^all$|^unknown$|0{8}-0{4}-|f{8}-f{4}-|^0{32}$|^f{32}$", re.IGNORECASE)
    paths = [path for path in python_files("pipelines", "assets", "migrations") if path != HOME_OF_SENTINELS]

    spelt = [(path, value) for path in paths for _, value in strings(path) if sentinel.search(value)]
    built = [path for path in paths if re.search(r"UUID\((int|bytes)=(0|2|b\")", text(path))]

    assert [each for each in spelt if each not in OTHER_WORDS] == built == []


def test_no_file_records_where_packages_come_from() -> None:
    """Locks hold versions and hashes; the address of a registry belongs to a machine, not to the project."""
    addresses = re.compile(r"pypi\.org|pythonhosted\.org|(extra-)?index-url|artifactory|find-links|npmjs\.")

    found = {path.relative_to(ROOT).as_posix() for path in kept_files() if addresses.search(text(path))}
    locks = [path for path in kept_files() if path.suffix == ".lock"]

    assert found - {"tests/project/test_committed_files.py"} == set()
    names = {"requirements.lock", "requirements-dev.lock", "requirements-bootstrap.lock"}
    assert {path.name for path in locks} == names
    assert [path.name for path in locks if "://" in text(path) or "--hash=sha256:" not in text(path)] == []


def test_no_file_knows_this_machine() -> None:
    """A path of one person's disk would break on the next one's."""
    absolute = re.compile(r"[\"'= (]/(work|home|Users|root)/")

    found = [path.relative_to(ROOT).as_posix() for path in kept_files() if absolute.search(text(path))]

    assert found == []


def test_no_real_data_is_kept() -> None:
    """Traces stay where they are published; a lock is the largest file but for a library of the page."""
    kept = [path for path in kept_files() if path != CHARTS]

    data = (".gz", ".parquet", ".csv", ".db", ".sqlite", ".whl")
    assert [path.name for path in kept if path.suffix in data] == []
    assert max(path.stat().st_size for path in kept) < 600_000


def text(path) -> str:
    """A file as text, whatever it is."""
    return path.read_text("utf-8", errors="replace")

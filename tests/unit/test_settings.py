"""What a person configures is read once, in words, and refused without being repeated."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import InvalidSetting
from pipelines.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("15 minutes", timedelta(minutes=15)),
        ("1 minute", timedelta(minutes=1)),
        ("90 seconds", timedelta(seconds=90)),
        ("2 hours", timedelta(hours=2)),
        ("1 day", timedelta(days=1)),
        ("1 week", timedelta(days=7)),
        (" 3 Days ", timedelta(days=3)),
        ("30", timedelta(seconds=30)),
        ("PT5M", timedelta(minutes=5)),
        ("01:30:00", timedelta(minutes=90)),
    ],
)
def test_a_duration_is_said_in_words(said: str, meant: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number and a unit, plain seconds or ISO 8601."""
    monkeypatch.setenv("EXECMETRICS_LOCK_TIMEOUT", said)

    assert load_settings().lock_timeout == meant


@pytest.mark.parametrize("said", ["off", "OFF", "none"])
def test_the_tolerance_can_be_off(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off accepts any future, and is not a duration of zero."""
    monkeypatch.setenv("EXECMETRICS_FUTURE_TOLERANCE", said)

    assert load_settings().future_tolerance is None


@pytest.mark.parametrize("variable", ["LOCK_TIMEOUT", "STATEMENT_TIMEOUT", "CONNECT_TIMEOUT"])
@pytest.mark.parametrize(
    "said", ["off", "0", "0 seconds", "soon", "5 fortnights", " ", "25 days", "99999999999999 days", "² days"]
)
def test_a_limit_that_limits_nothing_is_refused(
    variable: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout must be a time that PostgreSQL can count; the message names the variable."""
    monkeypatch.setenv(f"EXECMETRICS_{variable}", said)

    with pytest.raises(InvalidSetting, match=f"EXECMETRICS_{variable}"):
        load_settings()


def test_a_refusal_does_not_repeat_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone may have pasted a password into the wrong variable; nothing of it is shown."""
    for variable in ("LOCK_TIMEOUT", "EARLIEST_COMPLETION", "FUTURE_TOLERANCE"):
        monkeypatch.setenv(f"EXECMETRICS_{variable}", "postgresql://me:s3cret@host/db")

    with pytest.raises(InvalidSetting) as refused:
        load_settings()

    for variable in ("LOCK_TIMEOUT", "EARLIEST_COMPLETION", "FUTURE_TOLERANCE"):
        assert f"EXECMETRICS_{variable}" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.exit_code == 2


def test_urls_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings can be printed."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", "postgresql://me:s3cret@host/db")
    monkeypatch.setenv("EXECMETRICS_SOURCE_URL", "postgresql://me:s3cret@host/db")
    monkeypatch.setenv("EXECMETRICS_WEBHOOK_URL", "https://hooks.example/s3cret")

    assert "s3cret" not in f"{load_settings()!r} {load_settings()}"


def test_nothing_need_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults are those of the documentation."""
    monkeypatch.delenv("EXECMETRICS_HOME")

    settings = load_settings()

    assert (settings.database_url, settings.source_url) == (None, None)
    assert settings.home == Path(".execmetrics")
    assert settings.facts_location == str(Path(".execmetrics/facts/job_facts").resolve())
    assert settings.earliest_completion == date(2000, 1, 1)
    assert settings.earliest_completion_at == datetime(2000, 1, 1, tzinfo=UTC)
    assert settings.future_tolerance == timedelta(days=1)
    assert settings.lock_timeout == timedelta(minutes=15)


def test_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files and templates write what somebody left out."""
    monkeypatch.delenv("EXECMETRICS_HOME")
    defaults = load_settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"EXECMETRICS_{name.upper()}", "")

    assert load_settings() == defaults


def test_the_facts_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They follow the home unless they have a place of their own, which may be an object store."""
    monkeypatch.setenv("EXECMETRICS_HOME", str(tmp_path))
    at_home = load_settings().facts_location
    monkeypatch.setenv("EXECMETRICS_FACTS_URL", "s3://bucket/job_facts")

    assert at_home == str(tmp_path.resolve() / "facts" / "job_facts")
    assert load_settings().facts_location == "s3://bucket/job_facts"


def test_partitions_do_not_begin_in_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later day would leave no day to show; today is one."""
    today = datetime.now(UTC).date()
    monkeypatch.setenv("EXECMETRICS_PARTITIONS_SINCE", today.isoformat())
    assert load_settings().partitions_since == today

    monkeypatch.setenv("EXECMETRICS_PARTITIONS_SINCE", (today + timedelta(days=2)).isoformat())
    with pytest.raises(InvalidSetting, match=r"EXECMETRICS_PARTITIONS_SINCE: .*in the future"):
        load_settings()


@pytest.mark.parametrize("variable", ["HOME", "FACTS_URL", "STEP_FACTS_URL"])
@pytest.mark.parametrize("sign", ["%20", "[", "]", "^", "|", "\\", "\n"])
def test_a_folder_that_delta_lake_cannot_open_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, sign: str
) -> None:
    """The variable and the sign are named, and nothing is made there."""
    monkeypatch.setenv(f"EXECMETRICS_{variable}", str(tmp_path / f"a{sign}b"))

    with pytest.raises(InvalidSetting, match=f"EXECMETRICS_{variable}") as refused:
        load_settings()

    assert (sign if sign.isprintable() else ascii(sign)) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["file://data/facts", "file:facts", "http://[facts"])
def test_a_url_of_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A file of another host, a relative one, and what is no URL."""
    for variable in ("FACTS_URL", "STEP_FACTS_URL", "BLOBS_URL", "LOG_ARCHIVE_URL"):
        monkeypatch.setenv(f"EXECMETRICS_{variable}", url)

        with pytest.raises(InvalidSetting, match=f"EXECMETRICS_{variable}: "):
            load_settings()

        monkeypatch.delenv(f"EXECMETRICS_{variable}")


def test_steps_lie_beside_the_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where a question mark is part of a name; behind that of a URL come options of the store."""
    beside = {
        f"{tmp_path}/a?b/facts/": f"{tmp_path.resolve()}/a?b/facts_of_steps",
        "s3://bucket/facts?key=value": "s3://bucket/facts_of_steps?key=value",
    }
    for facts, steps in beside.items():
        monkeypatch.setenv("EXECMETRICS_FACTS_URL", facts)

        assert load_settings().step_facts_location == steps

"""Everything a person can configure, read once from the environment."""

import os
import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from pipelines.errors import InvalidSetting
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period, RollupPlan, rollup_plan
from pipelines.subjects.subject import Subject

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}


def _duration(value: Any) -> Any:
    """Read `15 minutes`, `1 day` or `off` (None); leave the rest to pydantic (seconds, ISO 8601)."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text in {"off", "none"}:
        return None
    number, _, unit = text.partition(" ")
    unit = unit.removesuffix("s")
    if unit in _UNITS and number.isdecimal():
        try:
            return timedelta(seconds=int(number) * _UNITS[unit])
        except OverflowError:
            raise ValueError("Input is longer than any duration") from None
    return float(text) if text.isdecimal() else value


# PostgreSQL counts milliseconds in 31 bits, and 0 would mean no limit.
_SHORTEST, _LONGEST = timedelta(milliseconds=1), timedelta(days=24)


class Tier(StrEnum):
    """How changed jobs are found in the source."""

    SWEEP = "sweep"
    INDEXED = "indexed"
    AUTO = "auto"


def _plan(value: Any) -> Any:
    """Read `hour=1 day=2 week=3 month=3`: how many dimensions each period combines."""
    if not isinstance(value, str):
        return value
    try:
        depths = {Period(name): int(depth) for name, depth in (part.split("=") for part in value.split())}
    except ValueError:
        depths = {}
    if depths.keys() != set(Period) or not all(0 <= depth <= 3 for depth in depths.values()):
        raise ValueError("Input is not like: hour=1 day=2 week=3 month=3, each from 0 to 3")
    return rollup_plan(JOBS.dimension_columns, depths)


# As long as the hash of HS256: a shorter one would be the weakest part of it.
_SECRET_BYTES = 32

# What Delta Lake looks for elsewhere or panics over, wherever it stands in a path. Links do not help, it
# follows them first.
_NO_URL_OF_FACTS = re.compile(r"[\\[\]^|\x00-\x1f\x7f\ud800-\udfff]")
_NO_PATH_OF_FACTS = re.compile(rf"%[0-9A-Fa-f]{{2}}|{_NO_URL_OF_FACTS.pattern}")

# A person who can change the keys on their way can pass for any tenant.
_KEPT_SAFE = re.compile(r"https://\S+|http://(localhost|127\.0\.0\.1|\[::1\])[:/]\S+")


def _hard_to_guess(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < _SECRET_BYTES:
        raise ValueError(f"Input is shorter than {_SECRET_BYTES} bytes")
    return secret


def _kept_safe(url: str) -> str:
    if not _KEPT_SAFE.fullmatch(url):
        raise ValueError("Input does not begin with https://, nor with http:// and this machine")
    return url


def _begun(day: date) -> date:
    if day > datetime.now(UTC).date():
        raise ValueError("Input is in the future")
    return day


def located(url: str) -> str:
    """The URL of an object store, or the absolute path of a folder, without a slash at its end."""
    if url[:6].lower() == "file:/":
        return os.path.realpath(unquote(urlsplit(url).path))
    if "://" in url:
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{rest.rstrip('/')}"
    return os.path.realpath(url)


def is_remote(location: str) -> bool:
    """Whether a location, as `located` gives it, is the URL of an object store."""
    return "://" in location


def _of_characters(folder: Path) -> Path:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ValueError("Input is not UTF-8") from None
    return folder


def _of_a_store(url: str) -> str:
    try:
        host = urlsplit(url).netloc
    except ValueError:
        raise ValueError("Input is not a URL") from None
    if url[:5].lower() == "file:" and (host not in {"", "localhost"} or url[5:6] != "/"):
        raise ValueError("Input names a file on another host; write file:/// and the absolute path")
    return url


Secret = Annotated[SecretStr, AfterValidator(_hard_to_guess)]
SafeUrl = Annotated[str, AfterValidator(_kept_safe)]
Begun = Annotated[date, AfterValidator(_begun)]
Folder = Annotated[Path, AfterValidator(_of_characters)]
StoreUrl = Annotated[str, AfterValidator(_of_a_store)]
Plan = Annotated[RollupPlan, NoDecode, BeforeValidator(_plan)]
Duration = Annotated[timedelta, NoDecode, BeforeValidator(_duration), Field(ge=_SHORTEST, le=_LONGEST)]
OptionalDuration = Annotated[timedelta | None, NoDecode, BeforeValidator(_duration)]


def _setting(default: Any, description: str, **limits: Any) -> Any:
    return Field(default, description=description, **limits)


class Settings(BaseSettings):
    """The settings of one process; each field is the environment variable EXECMETRICS_<NAME>.

    A variable that is empty is as if it were not set.
    """

    model_config = SettingsConfigDict(
        env_prefix="EXECMETRICS_", extra="ignore", env_ignore_empty=True, frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments and the environment, and no file, so that none is looked for."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings

    database_url: SecretStr | None = _setting(None, "where aggregates live; embedded when unset")
    source_url: SecretStr | None = _setting(None, "where jobs live; default: the same database")
    home: Folder = _setting(Path(".execmetrics"), "facts, embedded database and Dagster home")
    facts_url: StoreUrl | None = _setting(None, "where job_facts lives; default: under the home")
    step_facts_url: StoreUrl | None = _setting(None, "where step_facts lives; default: beside job_facts")
    blobs_url: StoreUrl | None = _setting(None, "where large definitions live; default: under the home")
    earliest_completion: date = _setting(date(2000, 1, 1), "older completions are anomalies")
    future_tolerance: OptionalDuration = _setting(timedelta(days=1), "how far ahead jobs may complete")
    sealed_before: date | None = _setting(None, "jobs of before stay counted when their source rows are gone")
    # Read before any database, and constant: a first day that moved by itself would break running backfills.
    partitions_since: Begun = _setting(date(2020, 1, 1), "the first day that Dagster shows and backfills")
    extraction: Tier = _setting(Tier.AUTO, "how changes are found: sweep, indexed or auto (by size)")
    lookback: Duration = _setting(timedelta(minutes=30), "how far back the indexed tier looks again")
    sweep_every: Duration = _setting(timedelta(days=1), "how often the indexed tier looks at every row")
    digest_days: int = _setting(35, "how many trailing days are compared every night", ge=1)
    rollup_plan: Plan = _setting(JOBS.rollup, "how many dimensions are combined: hour=1 day=2 week=3 month=3")
    batch_organizations: int = _setting(500, "most organizations published in one transaction", ge=1)
    tolerated_failures_pct: float = _setting(10.0, "a run fails when more have failed", ge=0, le=100)
    lag_limit: Duration = _setting(timedelta(hours=3), "how old figures may be before a check warns")
    feed_retention: Duration = _setting(timedelta(days=7), "how long one that fails holds old files")
    keep_hours: OptionalDuration = _setting(None, "how long hourly cells are kept; off: for ever")
    keep_restatements: OptionalDuration = _setting(timedelta(days=730), "how long they are kept")
    keep_outcomes: OptionalDuration = _setting(timedelta(days=30), "how long they are kept; off: for ever")
    keep_logs: OptionalDuration = _setting(None, "how long months of logs are kept; off: for ever")
    log_months_ahead: int = _setting(3, "how many months ahead execution_logs has partitions", ge=1, le=120)
    log_archive_url: StoreUrl | None = _setting(None, "where months of logs go before they are dropped")
    json_limit_bytes: int = _setting(1_048_576, "the largest JSON value of a column", ge=1, le=1_048_576)
    lock_timeout: Duration = _setting(timedelta(minutes=15), "how long a run waits for another")
    statement_timeout: Duration = _setting(timedelta(hours=1), "the longest statement on a source")
    snapshot_timeout: Duration = _setting(timedelta(hours=4), "how long a source's snapshot may be open")
    connect_timeout: Duration = _setting(timedelta(seconds=10), "how long a connection may take")
    webhook_url: SecretStr | None = _setting(None, "called with a JSON body when a run fails")
    reader_url: SecretStr | None = _setting(None, "where the API reads, as a role that only reads")
    api_secret: Secret | None = _setting(None, "what HS256 tokens are signed with, 32 bytes or more")
    api_jwks_url: SafeUrl | None = _setting(None, "where the keys of RS256 and ES256 tokens are")
    api_audience: str = _setting("execution-metrics", "the audience of the API's tokens", min_length=1)

    @property
    def facts_location(self) -> str:
        """The URL or absolute folder of the Delta table `job_facts`."""
        return self.location_of("job_facts")

    @property
    def step_facts_location(self) -> str:
        """The URL or absolute folder of the Delta table `step_facts`."""
        return self.location_of("step_facts")

    def plan_of(self, subject: Subject) -> RollupPlan:
        """The grouping sets that are stored of a subject."""
        return self.rollup_plan if subject is JOBS else subject.rollup

    def location_of(self, table: str) -> str:
        """Where a table of facts is: one without a setting of its own lies beside the facts of jobs."""
        own = {"job_facts": self.facts_url, "step_facts": self.step_facts_url}.get(table)
        if own or not self.facts_url:
            return located(own or f"{self.home}/facts/{table}")
        beside, question, options = self.facts_location, "", ""
        if is_remote(beside):
            beside, question, options = beside.partition("?")
        return f"{beside.rstrip('/')}_of_{table.removesuffix('_facts')}s{question}{options}"

    @property
    def earliest_completion_at(self) -> datetime:
        """Midnight UTC of the earliest day a completion is believed."""
        return _midnight(self.earliest_completion)

    @property
    def sealed_before_at(self) -> datetime | None:
        """Midnight UTC of the day before which history is sealed, if it is."""
        return _midnight(self.sealed_before) if self.sealed_before else None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; raise `InvalidSetting` with the variable's name, never its value."""
    try:
        settings = Settings(**overrides)
    except ValidationError as invalid:
        problems = "; ".join(
            f"EXECMETRICS_{str(error['loc'][0]).upper()}: {error['msg']}" for error in invalid.errors()
        )
        raise InvalidSetting(problems) from None
    beside = "FACTS_URL" if settings.facts_url else "HOME"
    _require_usable(beside, settings.facts_location)
    _require_usable("STEP_FACTS_URL" if settings.step_facts_url else beside, settings.step_facts_location)
    return settings


def _require_usable(setting: str, location: str) -> None:
    if found := (_NO_URL_OF_FACTS if is_remote(location) else _NO_PATH_OF_FACTS).search(location):
        sign = found[0] if found[0].isprintable() else ascii(found[0])
        raise InvalidSetting(
            f"EXECMETRICS_{setting}: the whole path of the folder has {sign} in it, which Delta Lake takes"
            " for something else; choose another folder."
        )

"""Everything a person can configure, read once from the environment."""

import os
import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

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

# Whoever can change the keys on their way may say to be any tenant.
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
Folder = Annotated[Path, AfterValidator(_of_characters)]
StoreUrl = Annotated[str, AfterValidator(_of_a_store)]
Plan = Annotated[RollupPlan, NoDecode, BeforeValidator(_plan)]
Duration = Annotated[timedelta, NoDecode, BeforeValidator(_duration), Field(ge=_SHORTEST, le=_LONGEST)]
OptionalDuration = Annotated[timedelta | None, NoDecode, BeforeValidator(_duration)]


class Settings(BaseSettings):
    """The settings of one process; each field is the environment variable EXECMETRICS_<NAME>.

    A variable that is empty is as if it were not set.
    """

    model_config = SettingsConfigDict(
        env_prefix="EXECMETRICS_", extra="ignore", env_ignore_empty=True, frozen=True
    )

    database_url: SecretStr | None = Field(None, description="where aggregates live; embedded when unset")
    source_url: SecretStr | None = Field(None, description="where jobs live; default: the same database")
    home: Folder = Field(Path(".execmetrics"), description="facts, embedded database and Dagster home")
    facts_url: StoreUrl | None = Field(None, description="where job_facts lives; default: under the home")
    step_facts_url: StoreUrl | None = Field(
        None, description="where step_facts lives; default: under the home, or beside the facts"
    )
    blobs_url: StoreUrl | None = Field(
        None, description="where workflow definitions too large for a row live; default: under the home"
    )
    earliest_completion: date = Field(date(2000, 1, 1), description="older completions are anomalies")
    future_tolerance: OptionalDuration = Field(
        timedelta(days=1), description="completions later than the source's clock plus this wait; off: accept"
    )
    sealed_before: date | None = Field(
        None, description="jobs completed before this stay counted when their source rows are gone"
    )
    # Read before any database, and constant: a first day that moved by itself would break running backfills.
    partitions_since: Annotated[date, AfterValidator(_begun)] = Field(
        date(2020, 1, 1),
        description="the first day that Dagster shows and backfills; best, that of the first job",
    )
    extraction: Tier = Field(
        Tier.AUTO, description="how changes are found: sweep, indexed, or auto by the table's size"
    )
    lookback: Duration = Field(
        timedelta(minutes=30), description="how far before its cursor the indexed tier looks again"
    )
    sweep_every: Duration = Field(
        timedelta(days=1), description="how often the indexed tier looks at every row"
    )
    digest_days: int = Field(
        35, ge=1, description="how many trailing days of creation are compared every night, by checksums"
    )
    rollup_plan: Plan = Field(
        JOBS.rollup, description="how many dimensions are combined: hour=1 day=2 week=3 month=3"
    )
    batch_organizations: int = Field(
        500, ge=1, description="how many organizations are published in one transaction at most"
    )
    tolerated_failures_pct: float = Field(
        10.0, ge=0, le=100, description="a run fails when more organizations than this have failed"
    )
    lag_limit: Duration = Field(
        timedelta(hours=3), description="an organization that is complete no further than this warns"
    )
    feed_retention: Duration = Field(
        timedelta(days=7), description="how long an organization that fails can hold old files of the facts"
    )
    keep_hours: OptionalDuration = Field(None, description="how long hourly cells are kept; off: for ever")
    keep_restatements: OptionalDuration = Field(
        timedelta(days=730), description="how long restatements are kept; off: for ever"
    )
    keep_outcomes: OptionalDuration = Field(
        timedelta(days=30), description="how long the outcomes of runs are kept; off: for ever"
    )
    keep_logs: OptionalDuration = Field(
        None, description="how long whole months of execution_logs are kept; off: for ever"
    )
    log_months_ahead: int = Field(
        3, ge=1, le=120, description="how many months ahead execution_logs has partitions"
    )
    log_archive_url: StoreUrl | None = Field(
        None,
        description="where months of execution_logs go as Parquet before they are dropped; none: nowhere",
    )
    json_limit_bytes: int = Field(
        1_048_576,
        ge=1,
        le=1_048_576,
        description="the largest JSON value a column takes, as PostgreSQL writes it",
    )
    lock_timeout: Duration = Field(timedelta(minutes=15), description="how long a run waits for another")
    statement_timeout: Duration = Field(timedelta(hours=1), description="the longest statement on a source")
    snapshot_timeout: Duration = Field(
        timedelta(hours=4), description="how long a source's snapshot may be open before another statement"
    )
    connect_timeout: Duration = Field(timedelta(seconds=10), description="how long a connection may take")
    webhook_url: SecretStr | None = Field(None, description="called with a JSON body when a run fails")
    reader_url: SecretStr | None = Field(
        None, description="where the API reads, as a role that only reads; default: the database URL"
    )
    api_secret: Secret | None = Field(
        None, description="what HS256 tokens of the API are signed with, at least 32 bytes"
    )
    api_jwks_url: SafeUrl | None = Field(None, description="where the keys of RS256 and ES256 tokens are")
    api_audience: str = Field(
        "execution-metrics", min_length=1, description="the audience that the API's tokens name"
    )

    @property
    def facts_location(self) -> str:
        """The URL or absolute folder of the Delta table `job_facts`."""
        return located(self.facts_url or f"{self.home}/facts/job_facts")

    @property
    def step_facts_location(self) -> str:
        """The URL or absolute folder of the Delta table `step_facts`."""
        if self.step_facts_url or not self.facts_url:
            return located(self.step_facts_url or f"{self.home}/facts/step_facts")
        beside, question, options = self.facts_location, "", ""
        if is_remote(beside):
            beside, question, options = beside.partition("?")
        return f"{beside.rstrip('/')}_of_steps{question}{options}"

    def plan_of(self, subject: Subject) -> RollupPlan:
        """The grouping sets that are stored of a subject."""
        return self.rollup_plan if subject is JOBS else subject.rollup

    def location_of(self, table: str) -> str:
        """Where a table of facts is: one without a setting of its own lies beside the facts of jobs."""
        if table in ("job_facts", "step_facts"):
            return self.facts_location if table == "job_facts" else self.step_facts_location
        beside, question, options = self.facts_location, "", ""
        if is_remote(beside):
            beside, question, options = beside.partition("?")
        return f"{beside.rstrip('/')}_of_{table}{question}{options}"

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

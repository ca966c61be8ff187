"""Everything a person can configure, read once from the environment."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipelines.errors import InvalidSetting

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

Duration = Annotated[timedelta, NoDecode, BeforeValidator(_duration), Field(ge=_SHORTEST, le=_LONGEST)]
OptionalDuration = Annotated[timedelta | None, NoDecode, BeforeValidator(_duration)]


class Settings(BaseSettings):
    """The settings of one process; each field is the environment variable EXECMETRICS_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="EXECMETRICS_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(None, description="where aggregates live; embedded when unset")
    source_url: SecretStr | None = Field(None, description="where jobs live; default: the same database")
    home: Path = Field(Path(".execmetrics"), description="facts, embedded database and Dagster home")
    facts_url: str | None = Field(None, description="where job_facts lives; default: under the home")
    earliest_completion: date = Field(date(2000, 1, 1), description="older completions are anomalies")
    future_tolerance: OptionalDuration = Field(
        timedelta(days=1), description="completions later than the source's clock plus this wait; off: accept"
    )
    lock_timeout: Duration = Field(timedelta(minutes=15), description="how long a run waits for another")
    statement_timeout: Duration = Field(timedelta(hours=1), description="the longest statement on a source")
    connect_timeout: Duration = Field(timedelta(seconds=10), description="how long a connection may take")
    webhook_url: SecretStr | None = Field(None, description="called with a JSON body when a run fails")

    @property
    def facts_location(self) -> str:
        """The URL or absolute folder of the Delta table `job_facts`."""
        return self.facts_url or str(self.home.resolve() / "facts" / "job_facts")

    @property
    def earliest_completion_at(self) -> datetime:
        """Midnight UTC of the earliest day a completion is believed."""
        return datetime(*self.earliest_completion.timetuple()[:3], tzinfo=UTC)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; raise `InvalidSetting` with the variable's name, never its value."""
    try:
        return Settings(**overrides)
    except ValidationError as invalid:
        problems = "; ".join(
            f"EXECMETRICS_{str(error['loc'][0]).upper()}: {error['msg']}" for error in invalid.errors()
        )
        raise InvalidSetting(problems) from None

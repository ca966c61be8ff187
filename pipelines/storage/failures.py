"""What drivers and servers raise, as a sentence of ours with the first line of theirs.

By SQLSTATE, since a server says everything else in the language of its administrator. Where libpq could not
open a session it passes no SQLSTATE on, so that its words are all there is.
"""

import re
from typing import Final

from pipelines.errors import (
    DatabaseBusy,
    DatabaseExhausted,
    DatabaseReadOnly,
    DatabaseTooOld,
    DatabaseUnreachable,
    ExecutionMetricsError,
    LimitExceeded,
    NotPermitted,
    RelationsUnexpected,
    ServerFailed,
    StatementCancelled,
    ValueRefused,
)
from pipelines.storage.database_urls import DatabaseUrl, without_password

# What the beginning of an SQLSTATE means; of two that fit, the longer one.
_MEANINGS: Final[dict[str, type[ExecutionMetricsError]]] = {
    "08": DatabaseUnreachable,
    "0A": DatabaseTooOld,
    "25": DatabaseBusy,
    "25006": DatabaseReadOnly,
    # Sessions that the server has ended because they did nothing.
    "25P03": DatabaseUnreachable,
    "25P04": DatabaseUnreachable,
    "28": NotPermitted,
    "3D": DatabaseUnreachable,
    "3F": RelationsUnexpected,
    "40": DatabaseBusy,
    "42": RelationsUnexpected,
    "42501": NotPermitted,
    "53": DatabaseExhausted,
    "54": LimitExceeded,
    "55": DatabaseBusy,
    "57014": StatementCancelled,
    "57P": DatabaseUnreachable,
    "58": ServerFailed,
    "F0": ServerFailed,
    "XX": ServerFailed,
}

# Classes whose sentences name relations, roles and settings between quotes.
_QUOTING_NAMES: Final = ("08", "0A", "25", "28", "3D", "3F", "42", "53", "55", "57", "58")

# Classes whose sentences quote what rows hold. Those of any other class were written by who knows whom, and
# may hold it anywhere.
_QUOTING_VALUES: Final = ("21", "22", "23", "40", "44", "54", "F0", "XX")

# What a driver puts in front of the words of libpq.
_DRIVERS_PREFIX: Final = re.compile(r"^(?:[A-Z_]+: )?\[libpq\][^:]*: |^connection failed: ")


def meaning_of(failure: BaseException) -> ExecutionMetricsError | None:
    """What a failure of a driver means, and what it said; None of a failure that is no database's."""
    means = meaning_by(sqlstate_of(failure)) or (
        DatabaseUnreachable if _is_of_a_connection(failure) else None
    )
    return means(said_of(failure)) if means else None


def said_of(failure: BaseException, url: str = "") -> str:
    """Where a failure was, if `url` says so, and what it said, in parentheses."""
    place = f"{without_password(url)}: " if url else ""
    return f"({place}{words_of(failure, url)})"


def meaning_by(sqlstate: str | None) -> type[ExecutionMetricsError] | None:
    """Which of our failures an SQLSTATE is; None without one."""
    if sqlstate is None:
        return None
    known = [beginning for beginning in _MEANINGS if sqlstate.startswith(beginning)]
    return _MEANINGS[max(known, key=len)] if known else ValueRefused


def sqlstate_of(failure: BaseException) -> str | None:
    """The five characters, of psycopg, of ADBC, or of what SQLAlchemy has wrapped."""
    return getattr(getattr(failure, "orig", failure), "sqlstate", None)


def words_of(failure: BaseException, url: str = "") -> str:
    """The first line of what was said, without passwords and without what a row holds."""
    failure = getattr(failure, "orig", failure)
    told = getattr(getattr(failure, "diag", None), "message_primary", None) or str(failure)
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    words = _DRIVERS_PREFIX.sub("", lines[0]) if lines else type(failure).__name__
    sqlstate = sqlstate_of(failure)
    if sqlstate is not None and not sqlstate.startswith(_QUOTING_NAMES):
        hidden = r"""["'«»“„].*["'«»“”]""" if sqlstate.startswith(_QUOTING_VALUES) else ".+"
        words = re.sub(hidden, "…", words)
    for secret in _secrets(url):
        words = words.replace(secret, "***")
    return words.rstrip(".")


def _is_of_a_connection(failure: BaseException) -> bool:
    """Whether a driver lost its session or found none; neither of them need be imported to know."""
    kind = type(getattr(failure, "orig", failure))
    of_a_driver = kind.__module__.partition(".")[0] in {"psycopg", "adbc_driver_manager"}
    return of_a_driver and kind.__name__ == "OperationalError"


def _secrets(url: str) -> list[str]:
    """What of a URL must not be shown, as it was meant and as it is written, the longest first."""
    if not url:
        return []
    read = DatabaseUrl.read(url)
    passwords = [read.password, *(read.options.get(name) for name in ("password", "sslpassword"))]
    return sorted({secret for secret in passwords if secret}, key=len, reverse=True)

"""What drivers, servers, stores and the machine raise, as a sentence of ours with the words of theirs.

By SQLSTATE, since a server says everything else in the language of its administrator. Where libpq could not
open a session it passes no SQLSTATE on, so that its words are all there is. By the number that the operating
system gives, which libraries written in Rust pass on in their words only, as they do what a store answered.
"""

import errno
import os
import re
from typing import Final

from pipelines import errors
from pipelines.postgres.urls import DatabaseUrl, without_password

# What the beginning of an SQLSTATE means; of two that fit, the longer one.
_MEANINGS: Final[dict[str, type[errors.ExecutionMetricsError]]] = {
    "08": errors.DatabaseUnreachable,
    "0A": errors.DatabaseTooOld,
    "25": errors.DatabaseBusy,
    "25006": errors.DatabaseReadOnly,
    # Sessions that the server has ended because they did nothing.
    "25P03": errors.DatabaseUnreachable,
    "25P04": errors.DatabaseUnreachable,
    "28": errors.NotPermitted,
    "3D": errors.DatabaseUnreachable,
    "3F": errors.RelationsUnexpected,
    "40": errors.DatabaseBusy,
    "42": errors.RelationsUnexpected,
    "42501": errors.NotPermitted,
    "53": errors.DatabaseExhausted,
    "54": errors.LimitExceeded,
    "55": errors.DatabaseBusy,
    "57014": errors.StatementCancelled,
    "57P": errors.DatabaseUnreachable,
    "58": errors.ServerFailed,
    "F0": errors.ServerFailed,
    "XX": errors.ServerFailed,
}

# Classes whose sentences name relations, roles and settings between quotes.
_QUOTING_NAMES: Final = ("08", "0A", "25", "28", "3D", "3F", "42", "53", "55", "57", "58")

# Classes whose sentences quote what rows hold. Those of any other class were written by who knows whom, and
# may hold it anywhere.
_QUOTING_VALUES: Final = ("21", "22", "23", "40", "44", "54", "F0", "XX")

# What a driver puts in front of the words of libpq.
_DRIVERS_PREFIX: Final = re.compile(r"^(?:[A-Z_]+: )?\[libpq\][^:]*: |^connection failed: ")

# What the operating system refuses with; of any other number, a disk or a machine has failed.
_BY_NUMBER: Final[dict[int, type[errors.ExecutionMetricsError]]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), errors.DiskFull),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN), errors.ProcessExhausted),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), errors.PathNotUsable),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST), errors.PathNotUsable),
    **dict.fromkeys((errno.EBUSY, errno.ENAMETOOLONG, errno.ELOOP), errors.PathNotUsable),
    **dict.fromkeys((errno.EINVAL, errno.EILSEQ), errors.PathNotUsable),
}

# What says nothing of the file that was to be read.
_NOT_OF_THE_FILE: Final = {
    *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE),
    *(errno.ENAMETOOLONG, errno.ELOOP),
}

# Where the number is in the words of a library written in Rust; DuckDB gives its name alone.
_NUMBER: Final = re.compile(r"os error (\d+)|\bcode: (\d+), kind:")

_LIBRARIES: Final = {"_duckdb", "_internal", "deltalake", "duckdb", "obstore", "polars", "pyo3_runtime"}

# What a library says when a store does not answer as it should, and of that what another try does not mend.
_OF_A_STORE: Final = re.compile(
    r"Error performing [A-Z]+ |error sending request|Unknown scheme|recognise URL"
    r"|necessary privileges|valid authentication"
    r"|Generic (?:S3|GCS|MicrosoftAzure|HTTP) error"
)
_REFUSED: Final = re.compile(
    r"\b(?:400|401|403|30[1278])\b [A-Z]|NoSuchBucket|Unknown scheme|recognise URL|privileges|authentication"
)

# An object that is not there is not the store's fault.
_NO_OBJECT: Final = re.compile(r"[Nn]ot [Ff]ound|NoSuchKey")

# How long and how often a store was asked, and what other stores there are.
_BESIDE_THE_POINT: Final = re.compile(
    r" in [\d.]+[mµn]?s(?:, after \d+ retries, max_retries: \d+, retry_timeout: \d+s)?| Known schemes: .*"
)

_LONGEST_WORDS: Final = 400


def meaning_of(failure: BaseException) -> errors.ExecutionMetricsError | None:
    """What a failure of a driver means, and what it said; None of a failure that is no database's."""
    means = meaning_by(sqlstate_of(failure)) or (
        errors.DatabaseUnreachable if _is_of_a_connection(failure) else _meaning_by_machine(failure)
    )
    return means(said_of(failure)) if means else None


def obstacle_of(failure: BaseException) -> type[errors.ExecutionMetricsError] | None:
    """What stood in the way of reading a file that may be sound; None where it may be damaged or gone."""
    means = _meaning_by_machine(failure)
    in_the_way = (errors.StoreRefused, errors.StoreUnreachable, errors.ProcessExhausted)
    return means if means in in_the_way or _number_of(failure) in _NOT_OF_THE_FILE else None


def said_of(failure: BaseException, url: str = "") -> str:
    """Where a failure was, if `url` says so, and what it said, in parentheses."""
    place = f"{without_password(url)}: " if url else ""
    return f"({place}{words_of(failure, url)})"


def meaning_by(sqlstate: str | None) -> type[errors.ExecutionMetricsError] | None:
    """Which of our failures an SQLSTATE is; None without one."""
    if sqlstate is None:
        return None
    known = [beginning for beginning in _MEANINGS if sqlstate.startswith(beginning)]
    return _MEANINGS[max(known, key=len)] if known else errors.ValueRefused


def sqlstate_of(failure: BaseException) -> str | None:
    """The five characters, of psycopg, of ADBC, or of what SQLAlchemy has wrapped."""
    return getattr(getattr(failure, "orig", failure), "sqlstate", None)


def words_of(failure: BaseException, url: str = "") -> str:
    """The first line of what was said, without passwords and without what a row holds."""
    failure = getattr(failure, "orig", failure)
    if _meaning_by_machine(failure):
        return _words_of_the_machine(failure)
    said = getattr(getattr(failure, "diag", None), "message_primary", None) or str(failure)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = _DRIVERS_PREFIX.sub("", lines[0]) if lines else type(failure).__name__
    sqlstate = sqlstate_of(failure)
    if sqlstate is not None and not sqlstate.startswith(_QUOTING_NAMES):
        hidden = r"""["'«»“„].*["'«»“”]""" if sqlstate.startswith(_QUOTING_VALUES) else ".+"
        words = re.sub(hidden, "…", words)
    for secret in DatabaseUrl.read(url).secrets if url else ():
        words = words.replace(secret, "***")
    return words.rstrip(".")


def _meaning_by_machine(failure: BaseException) -> type[errors.ExecutionMetricsError] | None:
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryException":
        return errors.ProcessExhausted
    of_a_library = type(failure).__module__.partition(".")[0] in _LIBRARIES
    if not (of_a_library or isinstance(failure, OSError)) or isinstance(failure, BrokenPipeError):
        return None
    words = str(failure)
    if _OF_A_STORE.search(words):
        if "NoSuchBucket" in words or not _NO_OBJECT.search(words):
            return errors.StoreRefused if _REFUSED.search(words) else errors.StoreUnreachable
        return None
    if number := _number_of(failure):
        return _BY_NUMBER.get(number, errors.DiskFailed)
    return errors.EngineFailed if errors.is_panic(failure) else None


def _number_of(failure: BaseException) -> int | None:
    if isinstance(failure, OSError) and failure.errno:
        return failure.errno
    words = str(failure)
    if found := _NUMBER.search(words):
        return int(found[1] or found[2])
    return next((number for number in _BY_NUMBER if words.endswith(os.strerror(number))), None)


def _words_of_the_machine(failure: BaseException) -> str:
    """In one line, and of a URL nothing that may be a key to it."""
    if isinstance(failure, OSError) and failure.strerror:
        place = f": {failure.filename}" if failure.filename else ""
        return f"{failure.strerror}{place}"
    # Before what only its makers understand, and without the colours of a terminal.
    said = re.sub(r"\x1b\[\d*m|↳", "", str(failure).partition("\n\nDebug source")[0])
    said = re.sub(r"<\?xml.*?\?>|<Error>.*?<Code>(.*?)</Code>.*", r"\1", said, flags=re.DOTALL)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if errors.is_panic(failure):
        # Whatever it was busy with may be quoted.
        lines = [re.sub(r"""["'`].*["'`]""", "…", line) for line in lines[:1]]
    words = re.sub(r"(\w+://[^\s?]*)\?\S*", r"\1", ": ".join(lines)) or type(failure).__name__
    words = _BESIDE_THE_POINT.sub("", words)
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"


def _is_of_a_connection(failure: BaseException) -> bool:
    """Whether a driver lost its session or found none; neither of them need be imported to know."""
    kind = type(getattr(failure, "orig", failure))
    of_a_driver = kind.__module__.partition(".")[0] in {"psycopg", "adbc_driver_manager"}
    return of_a_driver and kind.__name__ == "OperationalError"

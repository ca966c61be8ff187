"""URLs of PostgreSQL databases: read, changed in one part, written for libpq, shown without secrets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

# A driver after the scheme is SQLAlchemy's way to write a URL; libpq, and so ADBC and psycopg, know none.
# A password that nobody encoded ends at the last @ before the options, else at the last @ of all.
_URL: Final = re.compile(
    r"(?P<scheme>\w+)(?:\+\w+)?://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^?]*(?=@)|.*(?=@)))?@)?"
    r"(?P<place>[^?]*)"
    r"(?:\?(?P<options>(?:\w+=.*)?))?",
    re.DOTALL,
)

_SECRETS: Final = ("password", "sslpassword")

# What Prisma's engine takes from a URL and libpq refuses. They concern Prisma's pool and its own tables, so
# a URL that is pasted from a Prisma project means the same database without them.
_OF_PRISMA: Final = {
    *("schema", "connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size"),
    *("single_use_connections", "max_connection_lifetime", "max_idle_connection_lifetime"),
    *("sslaccept", "sslidentity"),
}


@dataclass(frozen=True)
class DatabaseUrl:
    """The parts of a URL: `place` is the hosts and the database as they were written, the rest is decoded."""

    scheme: str
    user: str | None
    password: str | None
    place: str
    options: Mapping[str, str]

    @classmethod
    def read(cls, url: str) -> Self:
        """Read a URL, without what only Prisma knows.

        Raises `ValueError`, which does not quote it, when the text is none.
        """
        found = _URL.fullmatch(url)
        if not found:
            raise ValueError("It is not a database URL.")
        user, password = (found[part] and unquote(found[part]) for part in ("user", "password"))
        given = parse_qsl(found["options"] or "", keep_blank_values=True)
        options = {name: value for name, value in given if name not in _OF_PRISMA}
        return cls(found["scheme"], user, password, found["place"], options)

    def with_options(self, **options: str) -> Self:
        """The same database with these options, which replace those of the same name."""
        return replace(self, options={**self.options, **options})

    @property
    def secrets(self) -> list[str]:
        """What of it must not be shown, the longest first."""
        found = {self.password, *(self.options.get(name) for name in _SECRETS)}
        return sorted(filter(None, found), key=len, reverse=True)

    def __str__(self) -> str:
        """The URL as libpq reads it: a space is %20, for a plus would be a plus."""
        password = "" if self.password is None else ":" + quote(self.password, safe="*")
        credentials = "" if self.user is None else quote(self.user, safe="") + password + "@"
        options = "?" + urlencode(self.options, quote_via=quote) if self.options else ""
        return f"postgresql://{credentials}{self.place.replace(' ', '%20')}{options}"

    def __repr__(self) -> str:
        return f"DatabaseUrl({without_password(str(self))!r})"


def with_user(url: str, name: str) -> str:
    """The same database as a role that needs no password."""
    return str(replace(DatabaseUrl.read(url), user=None, password=None).with_options(user=name))


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    read = DatabaseUrl.read(url)
    options = {name: value for name, value in read.options.items() if name not in _SECRETS}
    return str(replace(read, password=read.password and "***", options=options))

"""Tokens: who signs those that are believed, and tokens for development."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError
from typing import Any, Final
from uuid import UUID

import jwt

from pipelines.errors import InvalidSetting, NobodyTrusted, TokenKeysUnreachable, TokenNotAccepted
from pipelines.settings import Settings

# Which claim names the organization.
ORGANIZATION: Final = "organization_id"
SYMMETRIC: Final = "HS256"

_ASYMMETRIC: Final = ("RS256", "ES256")
_REQUIRED: Final = ["exp", "aud", ORGANIZATION]

# How far the clock of who signs may be ahead of ours.
_LEEWAY_S: Final = 30

# How long a request waits for the keys' address.
_PATIENCE_S: Final = 5.0


class Trust:
    """What a token is checked with; which algorithms are right is decided here, never by the token."""

    def __init__(self, key_of: Callable[[str], Any], algorithms: Sequence[str], audience: str) -> None:
        self._key_of, self._algorithms, self._audience = key_of, algorithms, audience

    def organization_of(self, token: str) -> UUID:
        """Of which organization the bearer is. Raises `TokenNotAccepted` and `TokenKeysUnreachable`."""
        try:
            claims = jwt.decode(
                token,
                self._key_of(token),
                algorithms=self._algorithms,
                audience=self._audience,
                leeway=_LEEWAY_S,
                options={"require": _REQUIRED},
            )
            # A token that is over is over; only what begins may begin a little early.
            if int(claims["exp"]) <= time.time():
                raise TokenNotAccepted
            return UUID(str(claims[ORGANIZATION]))
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, JSONDecodeError) as failed:
            raise TokenKeysUnreachable from failed
        except (jwt.PyJWTError, ValueError) as refused:
            raise TokenNotAccepted from refused


def trusting(secret: str, audience: str) -> Trust:
    """Believe whoever knows a secret."""
    return Trust(lambda _token: secret, (SYMMETRIC,), audience)


def trust_of(settings: Settings) -> Trust:
    """Believe whom the settings name. Raises `NobodyTrusted`, and `InvalidSetting` when they name two."""
    secret, address = settings.api_secret, settings.api_jwks_url
    if secret and address:
        raise InvalidSetting("Set EXECMETRICS_API_SECRET or EXECMETRICS_API_JWKS_URL, not both.")
    if secret:
        return trusting(secret.get_secret_value(), settings.api_audience)
    if not address:
        raise NobodyTrusted
    keys = jwt.PyJWKClient(address, timeout=_PATIENCE_S)
    return Trust(keys.get_signing_key_from_jwt, _ASYMMETRIC, settings.api_audience)


def signed(organization_id: UUID, secret: str, audience: str, valid_for: timedelta) -> str:
    """A token by which its bearer is of this organization for so long."""
    now = datetime.now(UTC)
    claims = {ORGANIZATION: str(organization_id), "aud": audience, "iat": now, "exp": now + valid_for}
    return jwt.encode(claims, secret, algorithm=SYMMETRIC)

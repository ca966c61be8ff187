"""Who signs the tokens that are believed, and who asks: a bearer token names one organization."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError
from typing import Annotated, Any, Final, cast
from uuid import UUID

import jwt
from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CollectorRegistry

from pipelines.errors import (
    InvalidSetting,
    NobodyTrusted,
    OrganizationNotVisible,
    TokenKeysUnreachable,
    TokenNotAccepted,
    UnknownOrganization,
)
from pipelines.query.pool import Readiness, ReadingPool
from pipelines.query.tenant import Tenant, admit
from pipelines.runs.organizations import organization_called
from pipelines.settings import Settings
from pipelines.subjects.rollup import RollupPlan

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


@dataclass(frozen=True)
class Context:
    """Where the metrics are, whose tokens are believed, which combinations are stored, how it does.

    The application keeps it for its requests.
    """

    pool: ReadingPool
    trust: Trust
    plan: RollupPlan
    readiness: Readiness
    registry: CollectorRegistry


def context_of(request: Request) -> Context:
    """The context of the application that was asked."""
    return cast(Context, request.app.state.context)


_BEARER: Final = HTTPBearer(
    scheme_name="token",
    bearerFormat="JWT",
    auto_error=False,
    description=f"Signed, with the claims `exp`, `aud` and `{ORGANIZATION}`.",
)


def admitted(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
) -> Tenant:
    """The tenant that the request's token names, whatever the path says.

    Raises `TokenNotAccepted`, `TokenKeysUnreachable`.
    """
    if credentials is None:
        raise TokenNotAccepted
    return admit(context_of(request).trust.organization_of(credentials.credentials))


def require_own(asked: str, tenant: Tenant, name: str | None) -> None:
    """Raise `OrganizationNotVisible` unless a path names the tenant: nobody else is looked for."""
    try:
        organization_called(asked, {tenant.organization_id: name})
    except UnknownOrganization:
        raise OrganizationNotVisible from None

"""What an application answers with, and who asks: a bearer token names one organization."""

from dataclasses import dataclass
from typing import Annotated, Final, cast
from uuid import UUID

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pipelines.api.middleware import Measurements
from pipelines.api.tokens import ORGANIZATION, Trust
from pipelines.errors import OrganizationNotVisible, TokenNotAccepted, UnknownOrganization
from pipelines.query.pool import Readiness, ReadingPool
from pipelines.query.tenant import Tenant, admit
from pipelines.runs.organizations import organization_called
from pipelines.subjects.rollup import RollupPlan


@dataclass(frozen=True)
class Context:
    """Where the metrics are, whose tokens are believed, which combinations are stored, how it does."""

    pool: ReadingPool
    trust: Trust
    plan: RollupPlan
    readiness: Readiness
    measurements: Measurements


def put_context(app: FastAPI, context: Context) -> None:
    """Keep it where every request of the application finds it."""
    app.state.context = context


def context_of(request: Request) -> Context:
    """What `put_context` kept."""
    return cast(Context, request.app.state.context)


_BEARER: Final = HTTPBearer(
    scheme_name="token",
    bearerFormat="JWT",
    auto_error=False,
    description=f"Signed, with the claims `exp`, `aud` and `{ORGANIZATION}`.",
)


def identified(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
) -> UUID:
    """The organization that the request's token names. Raises `TokenNotAccepted`, `TokenKeysUnreachable`."""
    if credentials is None:
        raise TokenNotAccepted
    return context_of(request).trust.organization_of(credentials.credentials)


def admitted(mine: Annotated[UUID, Depends(identified)]) -> Tenant:
    """The tenant that the token names, whatever the path says."""
    return admit(mine)


def require_own(asked: str, tenant: Tenant, name: str | None) -> None:
    """Raise `OrganizationNotVisible` unless a path names the tenant: nobody else is looked for."""
    try:
        organization_called(asked, {tenant.organization_id: name})
    except UnknownOrganization:
        raise OrganizationNotVisible from None

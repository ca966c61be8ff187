"""Who asks: a bearer token names an organization, and a path may name that one and no other."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pipelines.api.context import context_of
from pipelines.api.trust import ORGANIZATION
from pipelines.errors import OrganizationNotVisible, TokenNotAccepted, UnknownOrganization
from pipelines.query.tenant import Tenant, admit
from pipelines.runs.organizations import organization_called

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

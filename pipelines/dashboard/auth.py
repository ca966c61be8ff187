"""Who asks: a bearer token names an organization, and only for that one a tenant is admitted."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pipelines.dashboard.context import context_of
from pipelines.dashboard.trust import ORGANIZATION
from pipelines.errors import OrganizationNotVisible, TokenNotAccepted
from pipelines.tenancy import Tenant, admit

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


def admitted(
    mine: Annotated[UUID, Depends(identified)],
    organization_id: Annotated[UUID, Path(description="The organization that the token names.")],
) -> Tenant:
    """The tenant, if it asks for itself; others hear what they would of one that does not exist."""
    if organization_id != mine:
        raise OrganizationNotVisible
    return admit(mine)

"""Tokens for development: in production an identity provider signs them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from pipelines.api.trust import ORGANIZATION, SYMMETRIC


def signed(organization_id: UUID, secret: str, audience: str, valid_for: timedelta) -> str:
    """A token by which its bearer is of this organization for so long."""
    now = datetime.now(UTC)
    claims = {ORGANIZATION: str(organization_id), "aud": audience, "iat": now, "exp": now + valid_for}
    return jwt.encode(claims, secret, algorithm=SYMMETRIC)

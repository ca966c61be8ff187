"""Whose metrics may be read: a tenant is admitted here, once it has proven who it is, and nowhere else."""

from typing import Any, Final
from uuid import UUID

_MINT: Final = object()


class Tenant:
    """An organization that asks for its own metrics; only `admit` makes one."""

    __slots__ = ("_organization_id",)

    def __init__(self, organization_id: UUID, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("a Tenant is made by tenancy.admit, where an identity was proven")
        self._organization_id = organization_id

    @property
    def organization_id(self) -> UUID:
        """Its id in the source and in every table of ours."""
        return self._organization_id

    def __repr__(self) -> str:
        return f"Tenant({self._organization_id})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Tenant) and other._organization_id == self._organization_id

    def __hash__(self) -> int:
        return hash(self._organization_id)


def admit(organization_id: UUID) -> Tenant:
    """The tenant of a caller who has proven to be of this organization, by a token or as its operator."""
    return Tenant(organization_id, _MINT)

"""What the models of both schemas share: how constraints are called, and columns of one kind."""

from typing import Any, Final

from sqlalchemy import Column, DateTime, MetaData

from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION

# An error message quotes the constraint's name, so the name is the sentence that was broken.
_NAMES: Final = {
    "pk": "%(table_name)s_primary_key",
    "uq": "%(table_name)s_unique_by_%(column_0_N_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_exists",
    "ck": "%(table_name)s_%(constraint_name)s",
    "ix": "%(table_name)s_by_%(column_0_N_name)s",
}

orchestration_metadata: Final = MetaData(schema=ORCHESTRATION, naming_convention=_NAMES)
analytics_metadata: Final = MetaData(schema=ANALYTICS, naming_convention=_NAMES)


def listed(values: Any) -> str:
    """Values as the members of an SQL list, in order."""
    return ", ".join(f"'{value}'" for value in sorted(str(value) for value in values))


def time(name: str, comment: str, **options: Any) -> Column[Any]:
    """A column of moments."""
    return Column(name, DateTime(timezone=True), comment=comment, **options)

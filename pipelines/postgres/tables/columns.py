"""What the models of both schemas share: names of constraints, and how columns and rules are written."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKeyConstraint, MetaData

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

TIME: Final = DateTime(timezone=True)


def required(name: str, kind: Any, comment: str, **options: Any) -> Column[Any]:
    """A column that every row has a value for."""
    return Column(name, kind, comment=comment, nullable=False, **options)


def optional(name: str, kind: Any, comment: str) -> Column[Any]:
    """A column that may be NULL."""
    return Column(name, kind, comment=comment)


def check(name: str, condition: str) -> CheckConstraint:
    """A condition on each row; the name of the table is put in front of its name."""
    return CheckConstraint(condition, name=name)


def references(name: str, table: str, *columns: str, ondelete: str = "CASCADE") -> ForeignKeyConstraint:
    """A foreign key to a table of the source: the last column holds its id, the others are called alike."""
    targets = [f"{ORCHESTRATION}.{table}.{column}" for column in (*columns[:-1], "id")]
    return ForeignKeyConstraint(columns, targets, name=name, ondelete=ondelete)


def listed(values: Iterable[object]) -> str:
    """Values as the members of an SQL list, in order."""
    return ", ".join(f"'{value}'" for value in sorted(map(str, values)))

"""A failure is named for what it means, and its docstring is what a person reads."""

import re
from collections.abc import Iterator

import pytest

from pipelines import errors
from pipelines.errors import ExecutionMetricsError, UnknownOrganization, UsageError


def every_error(kind: type[ExecutionMetricsError] = ExecutionMetricsError) -> Iterator[type]:
    """The failure and everything more particular."""
    yield kind
    for narrower in kind.__subclasses__():
        yield from every_error(narrower)


def test_the_docstring_is_the_message_and_the_exit_code_says_who_can_mend_it() -> None:
    """One line, one sentence, with the detail behind it; 2 is wrong usage, 1 a failure, 130 a Ctrl-C."""
    for error in every_error():
        message = str(error())

        assert re.fullmatch(r"[A-Z].*\.", message), error
        assert str(error("(here)")) == f"{message} (here)"
        assert error.exit_code in ({2} if issubclass(error, UsageError) else {1, 2, 130}), error


def test_a_subclass_does_not_inherit_the_message() -> None:
    """Each failure has its own words."""
    said = [str(error()) for error in every_error()]

    assert len(set(said)) == len(said)


def test_errors_can_be_caught_as_one() -> None:
    """A command line catches one type and shows no traceback."""
    with pytest.raises(errors.ExecutionMetricsError, match=r"No such organization .* 42"):
        raise UnknownOrganization("42")

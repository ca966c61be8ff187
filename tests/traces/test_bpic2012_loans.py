"""Loan applications of a bank: declined in seconds or approved in weeks, times in milliseconds."""

from typing import ClassVar

from tests.support import trace_answers as why
from tests.traces.conftest import TraceTests


class TestBpic2012Loans(TraceTests):
    name = "bpic2012_loans"
    agreed = 788
    unanswered: ClassVar = {
        why.OTHER_STATUSES: 8,
        why.A_NAME: 3,
        why.NOT_STORED: 82,
        why.BY_START: 362,
        why.OF_OTHER_COLUMNS: 91,
        why.IN_MANY_CELLS: 216,
        why.SAME_OUTCOME: 2,
        why.BY_STATUS: 24,
    }

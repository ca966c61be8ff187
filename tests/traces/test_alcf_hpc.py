"""Jobs of three supercomputers: 159 projects, waits of months, more failures than successes on one."""

from typing import ClassVar

from tests.support import trace_answers as why
from tests.traces.conftest import TraceTests


class TestAlcfHpc(TraceTests):
    name = "alcf_hpc"
    agreed = 797
    unanswered: ClassVar = {
        why.OTHER_STATUSES: 7,
        why.A_NAME: 3,
        why.NOT_STORED: 61,
        why.BY_START: 430,
        why.OF_OTHER_COLUMNS: 146,
        why.IN_MANY_CELLS: 236,
        why.BY_STATUS: 24,
    }

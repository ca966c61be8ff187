"""Billing packages of a hospital: months from the first event to the last, unfinished ones among them."""

from typing import ClassVar

from pipelines.devtools.trace_import import import_trace
from pipelines.runs.refresh import refresh
from tests.support import trace_answers as why
from tests.traces.conftest import Loaded, TraceTests


class TestHospitalBilling(TraceTests):
    name = "hospital_billing"
    agreed = 757
    unanswered: ClassVar = {
        why.OTHER_STATUSES: 8,
        why.A_NAME: 3,
        why.NOT_STORED: 93,
        why.BY_START: 379,
        why.OF_OTHER_COLUMNS: 5,
        why.IN_MANY_CELLS: 228,
        why.WITH_NEGATIVES: 11,
        why.BY_STATUS: 24,
    }

    def test_the_same_trace_again_changes_nothing(self, loaded: Loaded) -> None:
        """A second import writes no row, and a refresh after it neither."""
        again = import_trace(loaded.folder, loaded.databases, loaded.settings)
        report = refresh(loaded.databases, loaded.settings)

        assert [table.rows for table in again.tables] == [table.rows for table in loaded.imported.tables]
        assert sum(table.rows_written for table in again.tables) == 0
        assert (report.cells_written, report.cells_deleted) == (0, 0)

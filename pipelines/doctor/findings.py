"""What can be wrong with a source, and why it matters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class What(StrEnum):
    """What was found, in the order in which it is mended: tables, views, rights, then speed."""

    MISSING_TABLE = "missing_table"
    AMBIGUOUS_TABLE = "ambiguous_table"
    AMBIGUOUS_COLUMN = "ambiguous_column"
    UNUSABLE_TYPE = "unusable_type"
    MISSING_COLUMN = "missing_column"
    NULLABLE_COLUMN = "nullable_column"
    NO_CONTRACT_VIEW = "no_contract_view"
    ZONELESS_TIMES = "zoneless_times"
    IDS_ARE_NOT_UUIDS = "ids_are_not_uuids"
    NO_ROW_VERSION = "no_row_version"
    UNKNOWN_STATUS = "unknown_status"
    COLUMN_LEFT_OUT = "column_left_out"
    VIEW_ASKS_ITS_READER = "view_asks_its_reader"
    HIDDEN_ROWS = "hidden_rows"
    MISSING_PRIVILEGE = "missing_privilege"
    MISSING_FUNCTION = "missing_function"
    READ_WHOLE = "read_whole"
    MISSING_INDEX = "missing_index"
    SESSIONS_NOT_IN_UTC = "sessions_not_in_utc"


# A refresh runs and is right without, as far as anybody can tell.
ADVICE: Final = {
    What.READ_WHOLE,
    What.UNKNOWN_STATUS,
    What.COLUMN_LEFT_OUT,
    What.MISSING_INDEX,
    What.SESSIONS_NOT_IN_UTC,
}

_WHY: Final[Mapping[What, str]] = {
    What.MISSING_TABLE: "Every job belongs to an organization and a workflow, so all four tables are read.",
    What.AMBIGUOUS_TABLE: "Several tables could be meant, and the figures depend on which.",
    What.AMBIGUOUS_COLUMN: "Several columns could be meant, and the figures depend on which.",
    What.UNUSABLE_TYPE: "What the contract wants cannot be told from a column of this type.",
    What.MISSING_COLUMN: "Figures cannot be told without it.",
    What.NULLABLE_COLUMN: "A row without it could be counted nowhere, and an index would not show it.",
    What.NO_CONTRACT_VIEW: "A refresh reads the schema orchestration, where a view has to say what is what.",
    What.ZONELESS_TIMES: "A time without zone is another moment in another session; Prisma stores UTC.",
    What.IDS_ARE_NOT_UUIDS: "Ids are UUIDs here, so text that is one is cast and any other id is hashed.",
    What.NO_ROW_VERSION: "Changed rows are found by the transaction that wrote them.",
    What.UNKNOWN_STATUS: "Jobs of a status that the contract does not know are listed and counted nowhere.",
    What.COLUMN_LEFT_OUT: "The table has the column by now, and the view does not read it.",
    What.VIEW_ASKS_ITS_READER: "Its reader would need rights on the table that has the payload.",
    What.HIDDEN_ROWS: "Row-level security may hide rows, and what is hidden is missing from every figure.",
    What.MISSING_PRIVILEGE: "The role may not read what a refresh reads.",
    What.MISSING_FUNCTION: "A refresh calls it.",
    What.READ_WHOLE: "Nothing tells which of its rows changed, so every refresh reads all of them.",
    What.MISSING_INDEX: "Without it, looking up a few jobs reads the whole table.",
    What.SESSIONS_NOT_IN_UTC: "A default of CURRENT_TIMESTAMP is the session's local time, and read as UTC.",
}


@dataclass(frozen=True)
class Finding:
    """Something to mend, where it is, and the statements that mend it; `remedy` where SQL alone cannot."""

    what: What
    where: str
    sql: tuple[str, ...] = ()
    remedy: str = ""
    detail: str = ""

    @property
    def why(self) -> str:
        """Why it matters."""
        return f"{_WHY[self.what]} {self.detail}".strip()

    @property
    def blocking(self) -> bool:
        """Whether a refresh would fail, or be wrong, as long as it is so."""
        return self.what not in ADVICE


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in the order in which they are mended."""
    order = list(What)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.what)))


def script(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Every statement once, in the order in which they can be run."""
    statements = dict.fromkeys(statement for finding in findings for statement in finding.sql)
    # What new indexes are good for is known when all are there.
    return tuple(sorted(statements, key=lambda statement: statement.startswith("ANALYZE ")))

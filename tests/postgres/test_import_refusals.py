"""What is wrong with a trace is one sentence: its place and what to do, never a value."""

import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.devtools.trace_import import read_trace
from pipelines.errors import InvalidTrace
from tests.support.small_traces import (
    ANOTHER_JOB,
    CLIENT,
    FILES,
    JOB,
    NEIGHBOUR,
    THEIR_CLIENT,
    THEIR_WORKFLOW,
    WORKFLOW,
    edited,
    write_trace,
)

BEGINNING = "The folder to import is not a trace we can read; nothing was imported. "

NIL, MAX = "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
NOT_AN_ID = "not a UUID; write it as 8-4-4-4-12 hexadecimal digits."
RESERVED = "a reserved UUID, nil or max; give the row another one."
NO_STATUS = "unknown; it is one of PENDING, RUNNING, COMPLETED, FAILED, CANCELLED."
EMPTY, AGAIN = "empty; every row needs one.", "the same as on an earlier line; keep one of them."
UNEVEN = "; complete the line, or quote a field that holds a comma."
FOUR_OF_THREE = f"line 2: has 4 fields where the header has 3{UNEVEN}"
NOT_CSV = "not CSV; write the file again."
NOT_THERE = "; add the row there, or correct the id."
NOT_WHOLE = "not a whole number from 0 to 2147483647; correct it."
NOT_A_NUMBER = "not a number; write it like 1234.5, or leave it empty."
NOT_A_TIME = "not a time; write it like 2024-01-31T08:00:00.000Z, zone included."
NO_COMPLETION = f"line 2, column completed_at: {NOT_A_TIME}"

# As the small trace has them.
COMPLETED, CREATED = "2024-01-31T08:01:00.000001Z", "2024-01-31T09:00:00.000Z"

Wrong = tuple[dict[str, str | bytes], str]


def file(table: str, content: str | bytes, sentence: str) -> Wrong:
    """A file that is wrong, and what is said of it."""
    return {table: content}, f"{table}.csv.gz{'' if sentence.startswith(':') else ', '}{sentence}"


def edit(table: str, old: str, new: str, sentence: str) -> Wrong:
    """A file of the small trace with one edit that makes it wrong."""
    return file(table, edited(table, old, new), sentence)


def log(column: str, value: str, sentence: str) -> Wrong:
    """A log whose first line is wrong in one column."""
    said = {"job_id": JOB, "seq": "0", "level": "INFO", "timestamp": "2024-01-31T08:00:30Z"}
    said |= {"step_name": "", "duration_ms": ""}
    first, second = said | {column: value}, said | {"seq": "1"}
    content = "\n".join(",".join(line) for line in (said, first.values(), second.values()))
    return file("execution_logs", content, sentence)


# What is wrong, and the whole sentence that says so.
WRONG = {
    "no header": file(
        "jobs",
        "",
        "line 1: the header lacks job_id, organization_id, workflow_id, status, created_at; add the columns.",
    ),
    "no such columns": edit(
        "jobs",
        "status,created_at",
        "state,made_at",
        "line 1: the header lacks status, created_at; add the columns.",
    ),
    "a row where the header should be": file(
        "clients",
        FILES["clients"].partition("\n")[2],
        "line 1: the header lacks client_id, organization_id, name; add the columns.",
    ),
    "a column twice": edit(
        "workflows", "_id,name", "_id,name,name", "line 1: the header names name twice; keep one."
    ),
    "a line cut short": edit(
        "jobs",
        ",RUNNING,2024-01-31T09:00:00.000Z,2024-01-31T09:00:01.000Z,,",
        ",RUNNING",
        f"line 3: has 6 fields where the header has 10{UNEVEN}",
    ),
    "a comma without quotes": edit("clients", "Dr. Who", "Who, Dr.", FOUR_OF_THREE),
    "two mistakes that add up": file(
        "clients", edited("clients", "Dr. Who", "Who, Dr.").replace(",Dr. No", ""), FOUR_OF_THREE
    ),
    "a quote that is not closed": edit("clients", "Dr. No", '"Dr. No', f"line 3: {NOT_CSV}"),
    "text after a closing quote": edit("clients", "Dr. Who", '"Dr." Who', f"line 2: {NOT_CSV}"),
    "line ends of an old Macintosh": file(
        "clients", FILES["clients"].replace("\n", "\r"), f"line 1: {NOT_CSV}"
    ),
    "quotes inside a field": edit(
        "clients", "Dr. Who", '5" pipe', ": the quotes do not pair up; write the file as CSV again."
    ),
    "not UTF-8": file(
        "clients",
        FILES["clients"].replace("Dr. No", "Dr. Nö").encode("latin-1"),
        "line 3: not UTF-8; convert the file.",
    ),
    "UTF-16": file("clients", FILES["clients"].encode("utf-16"), "line 1: not UTF-8; convert the file."),
    "a NUL": edit("clients", "Dr. No", "Dr.\x00No", "line 3: holds a NUL character; remove it."),
    "an id that is none": edit("jobs", JOB, "17", f"line 2, column job_id: {NOT_AN_ID}"),
    "ids that are none": file(
        "organizations",
        "organization_id,name\n1,Acme\n2,Neighbour\n",
        f"line 2, column organization_id: {NOT_AN_ID} (and 1 more like it)",
    ),
    "the nil id": edit("jobs", CLIENT, NIL, f"line 2, column client_id: {RESERVED}"),
    "the max id": edit("workflows", THEIR_WORKFLOW, MAX, f"line 3, column workflow_id: {RESERVED}"),
    "no id": edit("jobs", JOB, "", f"line 2, column job_id: {EMPTY}"),
    "no name": edit("clients", "Dr. No", '""', f"line 3, column name: {EMPTY}"),
    "no creation": edit("jobs", CREATED, "", f"line 3, column created_at: {EMPTY}"),
    "an id twice": edit("jobs", ANOTHER_JOB, JOB.upper(), f"line 3, column job_id: {AGAIN}"),
    "a time without a zone": edit(
        "jobs", CREATED, "2024-01-31T09:00:00", f"line 3, column created_at: {NOT_A_TIME}"
    ),
    "a day that does not exist": edit("jobs", COMPLETED, "2024-02-30T08:01:00Z", NO_COMPLETION),
    "a time in words": edit("jobs", COMPLETED, "yesterday", NO_COMPLETION),
    "infinity": edit("jobs", COMPLETED, "infinity", NO_COMPLETION),
    "nanoseconds": edit("jobs", COMPLETED, "2024-01-31T08:01:00.0000015Z", NO_COMPLETION),
    "the year before the first": edit("jobs", COMPLETED, "0001-01-01T00:00:00+14:00", NO_COMPLETION),
    "an unknown status": edit("jobs", "RUNNING", "running", f"line 3, column status: {NO_STATUS}"),
    "a reserved initiator": edit(
        "jobs", "USER", "all", "line 2, column initiator_type: a reserved word; call it something else."
    ),
    "a finished job without an end": edit(
        "jobs", COMPLETED, "", "line 2, column completed_at: empty, but the job has finished; fill it in."
    ),
    "an unknown organization": edit(
        "workflows", NEIGHBOUR, JOB, f"line 3, column organization_id: not in organizations.csv.gz{NOT_THERE}"
    ),
    "an unknown workflow": edit(
        "jobs", THEIR_WORKFLOW, JOB, f"line 4, column workflow_id: not in workflows.csv.gz{NOT_THERE}"
    ),
    "a workflow of the neighbour": edit(
        "jobs",
        WORKFLOW,
        THEIR_WORKFLOW,
        "line 2, column workflow_id: belongs to another organization in workflows.csv.gz; correct the id.",
    ),
    "a client of the neighbour": edit(
        "jobs",
        CLIENT,
        THEIR_CLIENT,
        "line 2, column client_id: belongs to another organization in clients.csv.gz; correct the id.",
    ),
    "no such level": log(
        "level",
        "NOTICE",
        "line 2, column level: unknown; it is one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL.",
    ),
    "a place that is no number": log("seq", "first", f"line 2, column seq: {NOT_WHOLE}"),
    "a place before the first": log("seq", "-1", f"line 2, column seq: {NOT_WHOLE}"),
    "a place beyond the last": log("seq", "2147483648", f"line 2, column seq: {NOT_WHOLE}"),
    "a place that is taken": log("seq", "1", f"line 3, column seq: {AGAIN}"),
    "a duration in words": log("duration_ms", "a while", f"line 2, column duration_ms: {NOT_A_NUMBER}"),
    "a duration without end": log("duration_ms", "inf", f"line 2, column duration_ms: {NOT_A_NUMBER}"),
    "a line without a time": log("timestamp", "", f"line 2, column timestamp: {EMPTY}"),
    "a line at no time": log("timestamp", "2024-02-30T08:00:00Z", f"line 2, column timestamp: {NOT_A_TIME}"),
    "a line of the last year": log(
        "timestamp", "9999-01-01T00:00:00Z", "line 2, column timestamp: after the year 9998; correct it."
    ),
    "a line of no job": log("job_id", WORKFLOW, f"line 2, column job_id: not in jobs.csv.gz{NOT_THERE}"),
    "a mistake below a name of several lines": file(
        "clients",
        edited("clients", "Dr. Who", '"Dr.\n\nWho"').replace("Dr. No", '""'),
        f"line 5, column name: {EMPTY}",
    ),
    "a mistake below an empty line": file(
        "jobs",
        edited("jobs", f"\n{ANOTHER_JOB}", f"\n\n{ANOTHER_JOB}").replace("RUNNING", "LOST"),
        f"line 4, column status: {NO_STATUS}",
    ),
}


@pytest.mark.parametrize(("files", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_named_with_its_place_and_remedy(
    tmp_path: Path, files: dict[str, str | bytes], sentence: str
) -> None:
    """The first wrong line is named as an editor counts lines, with how many more there are."""
    with pytest.raises(InvalidTrace) as refusal:
        read_trace(write_trace(tmp_path / "trace", **files))

    assert str(refusal.value) == BEGINNING + sentence
    assert refusal.value.__cause__ is None


DAMAGED = "jobs.csv.gz is damaged or not gzip; compress it again with gzip."


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.unlink(), "jobs.csv.gz is missing; put it into the folder."),
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), DAMAGED),
        (lambda file: file.write_text(FILES["jobs"]), DAMAGED),
        (lambda file: file.write_bytes(flipped(gzip.compress(FILES["jobs"].encode()))), DAMAGED),
        (lambda file: (file.unlink(), file.mkdir()), "jobs.csv.gz cannot be read; check that it is a file and"
         " may be read."),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_unpacked_is_named(tmp_path: Path, spoil, sentence: str) -> None:
    """Missing, cut short, not compressed, flipped bits, a folder of that name: each has its sentence."""
    folder = write_trace(tmp_path / "trace")
    spoil(folder / "jobs.csv.gz")

    with pytest.raises(InvalidTrace) as refusal:
        read_trace(folder)

    assert str(refusal.value) == BEGINNING + sentence
    assert refusal.value.__cause__ is None


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The path is a person's own word, so it may be repeated."""
    with pytest.raises(
        InvalidTrace, match=r"There is no folder .*nowhere; name one that holds jobs\.csv\.gz\.$"
    ):
        read_trace(tmp_path / "nowhere")


SECRET = "Jane Doe 1984-07-21"


@pytest.mark.parametrize(
    "place", ["job_id", "client_id", "status", "created_at", "completed_at", "initiator_type"]
)
def test_no_value_is_ever_repeated(tmp_path: Path, place: str) -> None:
    """Names and dates of patients slip into any column; neither the sentence nor its cause says them."""
    header, line = FILES["jobs"].splitlines()[:2]
    fields = dict(zip(header.split(","), line.split(","), strict=True)) | {place: SECRET}
    jobs = f"{header}\n{','.join(fields.values())}\n"

    if place == "initiator_type":
        read_trace(write_trace(tmp_path / "trace", jobs=jobs))
        return
    with pytest.raises(InvalidTrace) as refusal:
        read_trace(write_trace(tmp_path / "trace", jobs=jobs))

    assert "Jane" not in str(refusal.value)
    assert "1984" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@example(damage=b'"', at=36)
@given(damage=st.binary(min_size=1, max_size=30), at=st.integers(0, 400))
def test_whatever_a_file_holds_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int
) -> None:
    """Arbitrary bytes anywhere in a file give rows or our own sentence, never a traceback of a library."""
    content = FILES["jobs"].encode()
    folder = write_trace(tmp_path_factory.mktemp("trace"), jobs=content[:at] + damage + content[at:])

    with suppress(InvalidTrace):
        assert read_trace(folder)["jobs"].height in (2, 3)


def flipped(packed: bytes) -> bytes:
    """The same bytes with some bits in the middle turned over."""
    middle = len(packed) // 2
    return packed[:middle] + bytes(byte ^ 0xFF for byte in packed[middle : middle + 8]) + packed[middle + 8 :]

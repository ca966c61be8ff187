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
NOT_A_TIME = "not a time; write it like 2024-01-31T08:00:00.000Z, zone included."


def log(column: str, value: str) -> dict[str, str]:
    """A log whose first line is wrong in one column."""
    said = {"job_id": JOB, "seq": "0", "level": "INFO", "timestamp": "2024-01-31T08:00:30Z"}
    said |= {"step_name": "", "duration_ms": ""}
    second = ",".join((said | {"seq": "1"}).values())
    return {
        "execution_logs": "\n".join([",".join(said), ",".join((said | {column: value}).values()), second])
    }


# What is wrong, and the whole sentence that says so.
WRONG = {
    "no header": (
        {"jobs": ""},
        "jobs.csv.gz, line 1: the header lacks job_id, organization_id, workflow_id, status, created_at;"
        " add the columns.",
    ),
    "no such columns": (
        {"jobs": edited("jobs", "status,created_at", "state,made_at")},
        "jobs.csv.gz, line 1: the header lacks status, created_at; add the columns.",
    ),
    "a row where the header should be": (
        {"clients": FILES["clients"].partition("\n")[2]},
        "clients.csv.gz, line 1: the header lacks client_id, organization_id, name; add the columns.",
    ),
    "a column twice": (
        {"workflows": edited("workflows", "_id,name", "_id,name,name")},
        "workflows.csv.gz, line 1: the header names name twice; keep one.",
    ),
    "a line cut short": (
        {"jobs": edited("jobs", ",RUNNING,2024-01-31T09:00:00.000Z,2024-01-31T09:00:01.000Z,,", ",RUNNING")},
        "jobs.csv.gz, line 3: has 6 fields where the header has 10;"
        " complete the line, or quote a field that holds a comma.",
    ),
    "a comma without quotes": (
        {"clients": edited("clients", "Dr. Who", "Who, Dr.")},
        "clients.csv.gz, line 2: has 4 fields where the header has 3;"
        " complete the line, or quote a field that holds a comma.",
    ),
    "two mistakes that add up": (
        {"clients": edited("clients", "Dr. Who", "Who, Dr.").replace(",Dr. No", "")},
        "clients.csv.gz, line 2: has 4 fields where the header has 3;"
        " complete the line, or quote a field that holds a comma.",
    ),
    "a quote that is not closed": (
        {"clients": edited("clients", "Dr. No", '"Dr. No')},
        "clients.csv.gz, line 3: not CSV; write the file again.",
    ),
    "text after a closing quote": (
        {"clients": edited("clients", "Dr. Who", '"Dr." Who')},
        "clients.csv.gz, line 2: not CSV; write the file again.",
    ),
    "line ends of an old Macintosh": (
        {"clients": FILES["clients"].replace("\n", "\r")},
        "clients.csv.gz, line 1: not CSV; write the file again.",
    ),
    "quotes inside a field": (
        {"clients": edited("clients", "Dr. Who", '5" pipe')},
        "clients.csv.gz: the quotes do not pair up; write the file as CSV again.",
    ),
    "not UTF-8": (
        {"clients": FILES["clients"].replace("Dr. No", "Dr. Nö").encode("latin-1")},
        "clients.csv.gz, line 3: not UTF-8; convert the file.",
    ),
    "UTF-16": (
        {"clients": FILES["clients"].encode("utf-16")},
        "clients.csv.gz, line 1: not UTF-8; convert the file.",
    ),
    "a NUL": (
        {"clients": edited("clients", "Dr. No", "Dr.\0No")},
        "clients.csv.gz, line 3: holds a NUL character; remove it.",
    ),
    "an id that is none": (
        {"jobs": edited("jobs", JOB, "17")},
        f"jobs.csv.gz, line 2, column job_id: {NOT_AN_ID}",
    ),
    "ids that are none": (
        {"organizations": "organization_id,name\n1,Acme\n2,Neighbour\n"},
        f"organizations.csv.gz, line 2, column organization_id: {NOT_AN_ID} (and 1 more like it)",
    ),
    "the nil id": (
        {"jobs": edited("jobs", CLIENT, NIL)},
        f"jobs.csv.gz, line 2, column client_id: {RESERVED}",
    ),
    "the max id": (
        {"workflows": edited("workflows", THEIR_WORKFLOW, MAX)},
        f"workflows.csv.gz, line 3, column workflow_id: {RESERVED}",
    ),
    "no id": (
        {"jobs": edited("jobs", JOB, "")},
        "jobs.csv.gz, line 2, column job_id: empty; every row needs one.",
    ),
    "no name": (
        {"clients": edited("clients", "Dr. No", '""')},
        "clients.csv.gz, line 3, column name: empty; every row needs one.",
    ),
    "no creation": (
        {"jobs": edited("jobs", "2024-01-31T09:00:00.000Z", "")},
        "jobs.csv.gz, line 3, column created_at: empty; every row needs one.",
    ),
    "an id twice": (
        {"jobs": edited("jobs", ANOTHER_JOB, JOB.upper())},
        "jobs.csv.gz, line 3, column job_id: the same as on an earlier line; keep one of them.",
    ),
    "a time without a zone": (
        {"jobs": edited("jobs", "2024-01-31T09:00:00.000Z", "2024-01-31T09:00:00")},
        f"jobs.csv.gz, line 3, column created_at: {NOT_A_TIME}",
    ),
    "a day that does not exist": (
        {"jobs": edited("jobs", "2024-01-31T08:01:00.000001Z", "2024-02-30T08:01:00Z")},
        f"jobs.csv.gz, line 2, column completed_at: {NOT_A_TIME}",
    ),
    "a time in words": (
        {"jobs": edited("jobs", "2024-01-31T08:01:00.000001Z", "yesterday")},
        f"jobs.csv.gz, line 2, column completed_at: {NOT_A_TIME}",
    ),
    "infinity": (
        {"jobs": edited("jobs", "2024-01-31T08:01:00.000001Z", "infinity")},
        f"jobs.csv.gz, line 2, column completed_at: {NOT_A_TIME}",
    ),
    "nanoseconds": (
        {"jobs": edited("jobs", "2024-01-31T08:01:00.000001Z", "2024-01-31T08:01:00.0000015Z")},
        f"jobs.csv.gz, line 2, column completed_at: {NOT_A_TIME}",
    ),
    "the year before the first": (
        {"jobs": edited("jobs", "2024-01-31T08:01:00.000001Z", "0001-01-01T00:00:00+14:00")},
        f"jobs.csv.gz, line 2, column completed_at: {NOT_A_TIME}",
    ),
    "an unknown status": (
        {"jobs": edited("jobs", "RUNNING", "running")},
        f"jobs.csv.gz, line 3, column status: {NO_STATUS}",
    ),
    "a reserved initiator": (
        {"jobs": edited("jobs", "USER", "all")},
        "jobs.csv.gz, line 2, column initiator_type: a reserved word; call it something else.",
    ),
    "a finished job without an end": (
        {"jobs": edited("jobs", "2024-01-31T08:01:00.000001Z", "")},
        "jobs.csv.gz, line 2, column completed_at: empty, but the job has finished; fill it in.",
    ),
    "an unknown organization": (
        {"workflows": edited("workflows", NEIGHBOUR, JOB)},
        "workflows.csv.gz, line 3, column organization_id: not in organizations.csv.gz;"
        " add the row there, or correct the id.",
    ),
    "an unknown workflow": (
        {"jobs": edited("jobs", THEIR_WORKFLOW, JOB)},
        "jobs.csv.gz, line 4, column workflow_id: not in workflows.csv.gz;"
        " add the row there, or correct the id.",
    ),
    "a workflow of the neighbour": (
        {"jobs": edited("jobs", WORKFLOW, THEIR_WORKFLOW)},
        "jobs.csv.gz, line 2, column workflow_id: belongs to another organization"
        " in workflows.csv.gz; correct the id.",
    ),
    "a client of the neighbour": (
        {"jobs": edited("jobs", CLIENT, THEIR_CLIENT)},
        "jobs.csv.gz, line 2, column client_id: belongs to another organization"
        " in clients.csv.gz; correct the id.",
    ),
    "no such level": (
        log("level", "NOTICE"),
        "execution_logs.csv.gz, line 2, column level: unknown; it is one of TRACE, DEBUG, INFO, WARN, ERROR,"
        " FATAL.",
    ),
    "a place that is no number": (
        log("seq", "first"),
        "execution_logs.csv.gz, line 2, column seq: not a whole number from 0 to 2147483647; correct it.",
    ),
    "a place before the first": (
        log("seq", "-1"),
        "execution_logs.csv.gz, line 2, column seq: not a whole number from 0 to 2147483647; correct it.",
    ),
    "a place beyond the last": (
        log("seq", "2147483648"),
        "execution_logs.csv.gz, line 2, column seq: not a whole number from 0 to 2147483647; correct it.",
    ),
    "a place that is taken": (
        log("seq", "1"),
        "execution_logs.csv.gz, line 3, column seq: the same as on an earlier line; keep one of them.",
    ),
    "a duration in words": (
        log("duration_ms", "a while"),
        "execution_logs.csv.gz, line 2, column duration_ms: not a number; write it like 1234.5, or leave it"
        " empty.",
    ),
    "a duration without end": (
        log("duration_ms", "inf"),
        "execution_logs.csv.gz, line 2, column duration_ms: not a number; write it like 1234.5, or leave it"
        " empty.",
    ),
    "a line without a time": (
        log("timestamp", ""),
        "execution_logs.csv.gz, line 2, column timestamp: empty; every row needs one.",
    ),
    "a line at no time": (
        log("timestamp", "2024-02-30T08:00:00Z"),
        f"execution_logs.csv.gz, line 2, column timestamp: {NOT_A_TIME}",
    ),
    "a line of the last year": (
        log("timestamp", "9999-01-01T00:00:00Z"),
        "execution_logs.csv.gz, line 2, column timestamp: after the year 9998; correct it.",
    ),
    "a line of no job": (
        log("job_id", WORKFLOW),
        "execution_logs.csv.gz, line 2, column job_id: not in jobs.csv.gz; add the row there, or correct the"
        " id.",
    ),
    "a mistake below a name of several lines": (
        {"clients": edited("clients", "Dr. Who", '"Dr.\n\nWho"').replace("Dr. No", '""')},
        "clients.csv.gz, line 5, column name: empty; every row needs one.",
    ),
    "a mistake below an empty line": (
        {"jobs": edited("jobs", f"\n{ANOTHER_JOB}", f"\n\n{ANOTHER_JOB}").replace("RUNNING", "LOST")},
        f"jobs.csv.gz, line 4, column status: {NO_STATUS}",
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


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.unlink(), "jobs.csv.gz is missing; put it into the folder."),
        (
            lambda file: file.write_bytes(file.read_bytes()[:-20]),
            "jobs.csv.gz is damaged or not gzip; compress it again with gzip.",
        ),
        (
            lambda file: file.write_text(FILES["jobs"]),
            "jobs.csv.gz is damaged or not gzip; compress it again with gzip.",
        ),
        (
            lambda file: file.write_bytes(flipped(gzip.compress(FILES["jobs"].encode()))),
            "jobs.csv.gz is damaged or not gzip; compress it again with gzip.",
        ),
        (
            lambda file: (file.unlink(), file.mkdir()),
            "jobs.csv.gz cannot be read; check that it is a file and may be read.",
        ),
    ],
)
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

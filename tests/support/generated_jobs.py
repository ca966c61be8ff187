"""Jobs made up by Hypothesis, crowded around every boundary that a bucket or a figure has."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from tests.support.oracle import Job

# Where the organizations live, the first one in UTC: in Havana the clocks go forward and back at midnight,
# in Kathmandu no hour of UTC lies whole in a day.
HAVANA, KATHMANDU = (UUID(int=(1 << 64) + number) for number in (2, 3))
ZONES = {HAVANA: "America/Havana", KATHMANDU: "Asia/Kathmandu"}

# As far as the jobs reach.
OFFSETS = [
    ("America/Havana", datetime(2023, 11, 5, 5, tzinfo=UTC), -5 * 3600),
    ("America/Havana", datetime(2024, 3, 10, 5, tzinfo=UTC), -4 * 3600),
    ("America/Havana", datetime(2024, 11, 3, 5, tzinfo=UTC), -5 * 3600),
    ("America/Havana", datetime(2025, 3, 9, 5, tzinfo=UTC), -4 * 3600),
    ("Asia/Kathmandu", datetime(1986, 1, 1, tzinfo=UTC), 5 * 3600 + 45 * 60),
]

# Where one bucket ends and another begins: years, leap days, ISO weeks 53 and 1, and the hours that
# summer time takes or gives in Amsterdam, New York and Havana.
_BOUNDARIES = (
    "2000-01-01 2021-01-01 2021-01-04 2024-01-01 2024-02-29 2024-02-29T18:15 2024-03-01 2024-03-01T05"
    " 2024-03-10T05 2024-03-10T07 2024-03-31T01 2024-10-27T01 2024-11-03T04 2024-11-03T05 2024-11-03T06"
    " 2024-12-30 2025-01-01 2025-06-18T12"
)
BOUNDARIES = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in _BOUNDARIES.split()]

MICROSECOND = timedelta(microseconds=1)
YEAR = timedelta(days=365)

# A few shared values, so that ties are the rule, and anything up to as long as a double can say exactly
# in microseconds after it was interpolated.
durations = st.one_of(
    st.sampled_from([timedelta(0), MICROSECOND, -MICROSECOND, timedelta(seconds=1), timedelta(hours=1)]),
    st.timedeltas(min_value=-timedelta(hours=1), max_value=timedelta(days=2)),
    st.timedeltas(min_value=-YEAR, max_value=20 * YEAR),
)

moments = st.builds(
    lambda boundary, after: max(boundary + after, BOUNDARIES[0]),
    st.sampled_from(BOUNDARIES),
    st.one_of(
        st.sampled_from([timedelta(0), -MICROSECOND, MICROSECOND, timedelta(minutes=59, seconds=59)]),
        st.timedeltas(min_value=-timedelta(days=9), max_value=timedelta(days=9)),
    ),
)


def ids(kind: int, how_many: int) -> st.SearchStrategy[UUID]:
    """One of a few ids; neighbours differ in their last bit alone."""
    return st.sampled_from([UUID(int=(kind << 64) + number) for number in range(1, how_many + 1)])


jobs = st.builds(
    lambda completed_at, duration, **columns: Job(
        started_at=completed_at - duration, completed_at=completed_at, **columns
    ),
    organization_id=ids(1, 3),
    workflow_id=ids(2, 3),
    client_id=st.none() | ids(3, 2),
    initiator_type=st.sampled_from([None, "USER", "SCHEDULE", "unknown"]),
    status=st.sampled_from(["COMPLETED", "COMPLETED", "FAILED"]),
    completed_at=moments,
    duration=durations,
)

some_jobs = st.lists(jobs, min_size=1, max_size=40)

"""The nouns of the product: periods, sentinels, and which combinations are stored."""

from uuid import UUID

from pipelines.subjects import dimensions as sentinels
from pipelines.subjects.jobs import FINISHED, FLAGS, JOBS, UNFINISHED, Status
from pipelines.subjects.reasons import EFFECTS, Effect, Reason
from pipelines.subjects.rollup import grouping_sets


def test_masks_come_fewest_dimensions_first() -> None:
    """Up to three of three dimensions there are 1 + 3 + 3 + 1."""
    assert [len(grouping_sets(JOBS.dimension_columns, size)) for size in range(4)] == [1, 4, 7, 8]
    assert grouping_sets(JOBS.dimension_columns, 3)[-1] == frozenset(JOBS.dimension_columns)


def test_sentinels_have_the_values_of_the_contract() -> None:
    """Dashboards have them written down; all but `unknown`, which shares the cell of NULL, are reserved."""
    assert UUID("00000000-0000-0000-0000-000000000000") == sentinels.ALL_WORKFLOWS == sentinels.ALL_CLIENTS
    assert UUID("ffffffff-ffff-ffff-ffff-ffffffffffff") == sentinels.NO_CLIENT
    assert (sentinels.ALL_INITIATORS, sentinels.UNKNOWN_INITIATOR) == ("all", "unknown")
    assert {UUID(int=0), UUID(int=2**128 - 1)} == sentinels.RESERVED_IDS
    assert {"all"} == sentinels.RESERVED_INITIATORS


def test_only_a_negative_duration_leaves_a_job_counted() -> None:
    """Every reason has an effect, and the list is the contract's."""
    contract = (
        "negative_duration missing_timestamp infinite_timestamp timestamp_out_of_range future_timestamp"
        " reserved_identifier initiator_type_too_long foreign_workflow foreign_client unknown_status"
    )
    assert {reason.value for reason in Reason} == set(contract.split())
    assert EFFECTS.keys() == set(Reason)
    not_timed = [reason for reason, effect in EFFECTS.items() if effect is Effect.NOT_TIMED]
    assert not_timed == [Reason.NEGATIVE_DURATION]


def test_every_status_is_finished_or_not() -> None:
    """Only COMPLETED and FAILED count."""
    assert {status.value for status in FINISHED} == {"COMPLETED", "FAILED"}
    assert set(FINISHED) | set(UNFINISHED) == set(Status)
    assert not set(FINISHED) & set(UNFINISHED)


def test_no_column_holds_free_text() -> None:
    """Neither what is read nor what is kept has a place for a payload."""
    assert not {"result", "error", "name"} & {*JOBS.fact.columns, *JOBS.fact.stored_columns, *FLAGS}


def test_cells_have_the_columns_of_the_contract() -> None:
    """In the order of the table, and the percentiles at the shares their names say."""
    assert (
        *("organization_id", "period", "period_start", "workflow_id", "client_id", "initiator_type"),
        *("total_executions", "completed_executions", "failed_executions", "timed_executions"),
        *("success_rate_pct", "total_duration_ms", "average_duration_ms"),
        *("min_duration_ms", "max_duration_ms"),
        *("median_duration_ms", "p90_duration_ms", "p95_duration_ms", "p99_duration_ms"),
        *("median_completed_duration_ms", "p95_completed_duration_ms"),
        *("histogram_buckets", "histogram_counts"),
    ) == JOBS.cell_columns
    assert list(JOBS.percentiles().values()) == [0.5, 0.9, 0.95, 0.99]
    assert list(JOBS.percentiles("completed").values()) == [0.5, 0.95]

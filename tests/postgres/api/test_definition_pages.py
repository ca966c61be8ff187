"""What a figure means is said once, by the database, and passed on."""

from pipelines.subjects.jobs import JOBS
from tests.postgres.api.conftest import Api, token_of


def test_measures_mean_what_the_columns_do(shared: Api) -> None:
    """Each comment is the one in the database; counts and sums alone may be added up."""
    comments = dict(
        shared.pipeline.select(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = 'analytics.aggregate_metrics'::regclass AND attnum > 0"
        )
    )

    measures = definitions(shared)["measures"]

    assert {each["name"]: each["meaning"] for each in measures} == {
        name: comments[name] for name in JOBS.measure_columns
    }
    counts = {f"{each}_executions" for each in ("total", "completed", "failed", "timed")}
    assert {each["name"] for each in measures if each["can_be_added_up"]} == {*counts, "total_duration_ms"}
    assert {each["name"]: each["unit"] for each in measures} == {
        name: "jobs" if "executions" in name else "percent" if "rate" in name else "milliseconds"
        for name in JOBS.measure_columns
    }


def test_what_is_kept_and_what_stands_for_all_is_told(shared: Api) -> None:
    """The plan of the settings by period, and every value that is no id."""
    told = definitions(shared)

    assert {each["name"]: len(each["broken_down_by"]) for each in told["periods"]} == {
        "hour": 4,
        "day": 7,
        "week": 8,
        "month": 8,
    }
    assert ["workflow_id", "client_id"] in told["periods"][1]["broken_down_by"]
    assert {(each["column"], each["value"]) for each in told["sentinels"]} == {
        ("workflow_id", "00000000-0000-0000-0000-000000000000"),
        ("client_id", "00000000-0000-0000-0000-000000000000"),
        ("client_id", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("initiator_type", "all"),
        ("initiator_type", "unknown"),
    }


def test_any_tenant_may_read_them_and_asks_for_nothing_else(shared: Api) -> None:
    """With a token of any organization; there are no parameters."""
    headers = {"Authorization": f"Bearer {token_of(shared.tenants[1])}"}

    assert shared.client.get("/v1/definitions", headers=headers).status_code == 200
    assert shared.client.get("/v1/definitions?format=csv", headers=headers).status_code == 422


def definitions(api: Api) -> dict[str, list]:
    """What the API says."""
    headers = {"Authorization": f"Bearer {token_of(api.tenants[0])}"}
    return api.client.get("/v1/definitions", headers=headers).json()

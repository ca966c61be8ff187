"""`execution_logs`: what executions said, in the orchestration service's own database."""

import dagster as dg

execution_logs = dg.AssetSpec(
    ["orchestration", "execution_logs"],
    description="A line for whatever an execution said, and for each of its steps; partitioned by month.",
    group_name="source",
    kinds={"postgres"},
    owners=["team:orchestration"],
)

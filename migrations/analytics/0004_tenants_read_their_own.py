"""Row-level security keeps tenants apart, and histograms tell of ranges that are not stored."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT

revision = "analytics_0004"
down_revision = "analytics_0003"
branch_labels = None
depends_on = None

SCHEMA = "analytics"

# Which column says whose a row is.
OWNED = {
    "aggregate_metrics": "organization_id",
    "restatements": "organization_id",
    "completeness": "organization_id",
    "extraction_cursors": "organization_id",
    "refresh_outcomes": "organization_id",
    "job_anomalies": "organization_id",
    "organizations": "id",
    "workflows": "organization_id",
    "clients": "organization_id",
}

# After one transaction the setting is an empty string, not absent.
ASKING = "nullif(current_setting('execmetrics.organization_id', true), '')::uuid"

# Asked once a statement, not once a row. Whoever may write metrics has to see them.
WRITES = "(SELECT has_table_privilege(current_user, 'analytics.aggregate_metrics', 'INSERT'))"

CHECKS = {
    "histogram_is_whole": "cardinality(histogram_buckets) = cardinality(histogram_counts)"
    " AND num_nulls(histogram_buckets, histogram_counts) IN (0, 2)"
    " AND (histogram_buckets IS NULL OR period IN ('hour', 'day') AND timed_executions > 2)",
}

FIGURES = (
    "total_executions",
    "completed_executions",
    "failed_executions",
    "timed_executions",
    "success_rate_pct",
    "total_duration_ms",
    "average_duration_ms",
    "min_duration_ms",
    "max_duration_ms",
    "median_duration_ms",
    "p90_duration_ms",
    "p95_duration_ms",
    "p99_duration_ms",
    "computed_at",
)

ALL_OF = {
    "workflow_id": f"'{ALL_WORKFLOWS}'",
    "client_id": f"'{ALL_CLIENTS}'",
    "initiator_type": f"'{ALL_INITIATORS}'",
}
NOBODY = f"'{NO_CLIENT}'"

ORGANIZATION = "The tenant that the connection says it is, in execmetrics.organization_id."
PLACE = {
    "organization_id": ("m.organization_id", ORGANIZATION),
    "organization_name": ("o.name", "Its name."),
    "period": ("m.period", "hour in UTC; day, week (ISO, from Monday) or month in the organization's zone."),
    "period_start": ("m.period_start", "Inclusive start of the bucket the jobs completed in."),
}
BY = {
    "workflow": {
        "workflow_id": ("m.workflow_id", "The workflow."),
        "workflow_name": ("w.name", "Its name; NULL when the source has none."),
    },
    "client": {
        "client_id": (f"nullif(m.client_id, {NOBODY})", "The client; NULL for jobs without one."),
        "client_name": (
            f"CASE WHEN m.client_id = {NOBODY} THEN 'No client' ELSE c.name END",
            "Its name; NULL when the source has none.",
        ),
    },
    "initiator": {
        "initiator_type": ("m.initiator_type", "What started the jobs; unknown where they do not say."),
    },
}
NAMES = {
    "workflow": f"LEFT JOIN {SCHEMA}.workflows AS w"
    " ON w.organization_id = m.organization_id AND w.id = m.workflow_id",
    "client": f"LEFT JOIN {SCHEMA}.clients AS c"
    " ON c.organization_id = m.organization_id AND c.id = m.client_id",
    "initiator": "",
}
COLUMN_OF = {"workflow": "workflow_id", "client": "client_id", "initiator": "initiator_type"}
CUBE = {
    "workflow_is_all": (
        f"m.workflow_id = {ALL_OF['workflow_id']}",
        "Whether all workflows are together here.",
    ),
    "workflow_id": (
        f"nullif(m.workflow_id, {ALL_OF['workflow_id']})",
        "The workflow; NULL for all together.",
    ),
    "workflow_name": ("w.name", "Its name; NULL for all together, or when the source has none."),
    "client_is_all": (f"m.client_id = {ALL_OF['client_id']}", "Whether all clients are together here."),
    "client_id": (
        f"nullif(nullif(m.client_id, {ALL_OF['client_id']}), {NOBODY})",
        "The client; NULL for all together, and for jobs without one.",
    ),
    "client_name": (
        f"CASE WHEN m.client_id = {NOBODY} THEN 'No client' ELSE c.name END",
        "Its name; NULL for all together, or when the source has none.",
    ),
    "initiator_is_all": (
        f"m.initiator_type = {ALL_OF['initiator_type']}",
        "Whether all initiator types are together here.",
    ),
    "initiator_type": (
        f"nullif(m.initiator_type, {ALL_OF['initiator_type']})",
        "What started the jobs; NULL for all together, unknown where they do not say.",
    ),
}


def upgrade() -> None:
    """Add columns that are NULL until a row is computed anew, which the next refresh does with all."""
    for column in (
        sa.Column(
            "histogram_buckets",
            postgresql.ARRAY(sa.SmallInteger),
            comment="For hours and days with more than two timed jobs: which buckets of durations have any;"
            " bucket b is up to 1.02^b microseconds, -1 is no time at all.",
        ),
        sa.Column(
            "histogram_counts",
            postgresql.ARRAY(sa.Integer),
            comment="How many timed jobs are in each of histogram_buckets.",
        ),
    ):
        op.add_column("aggregate_metrics", column, schema=SCHEMA)
    op.add_column(
        "completeness",
        sa.Column(
            "edition",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="How often rows were written or removed without a publication: by a repair, a rebuild or"
            " retention. With published_at it names one state of the metrics.",
        ),
        schema=SCHEMA,
    )
    for name, condition in CHECKS.items():
        op.create_check_constraint(name, "aggregate_metrics", condition, schema=SCHEMA)
    for table, owner in OWNED.items():
        op.execute(f"ALTER TABLE {SCHEMA}.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {SCHEMA}.{table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenants_read_their_own ON {SCHEMA}.{table} FOR SELECT USING ({owner} = {ASKING})"
        )
        op.execute(
            f"CREATE POLICY writers_write_all ON {SCHEMA}.{table} USING ({WRITES}) WITH CHECK ({WRITES})"
        )
    _create_views()


def downgrade() -> None:
    """Tenants are kept apart by nothing but the queries again, and dashboards read the table itself."""
    for view in (
        "aggregate_metrics_v1",
        "by_initiator_v1",
        "by_client_v1",
        "by_workflow_v1",
        "org_totals_v1",
    ):
        op.execute(f"DROP VIEW {SCHEMA}.{view}")
    for table in OWNED:
        for policy in ("writers_write_all", "tenants_read_their_own"):
            op.execute(f"DROP POLICY {policy} ON {SCHEMA}.{table}")
        op.execute(f"ALTER TABLE {SCHEMA}.{table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {SCHEMA}.{table} DISABLE ROW LEVEL SECURITY")
    for name in CHECKS:
        op.drop_constraint(op.f(f"aggregate_metrics_{name}"), "aggregate_metrics", schema=SCHEMA)
    for column in ("histogram_counts", "histogram_buckets"):
        op.drop_column("aggregate_metrics", column, schema=SCHEMA)
    op.drop_column("completeness", "edition", schema=SCHEMA)


def _create_views() -> None:
    """One view per slice, so that adding its rows up counts no job twice within a period."""
    slices = {
        "org_totals_v1": (
            (),
            "Everything of one tenant together, per period: filter on period, then add up.",
        ),
        "by_workflow_v1": (
            ("workflow",),
            "One tenant's workflows, per period: filter on period, then add up.",
        ),
        "by_client_v1": (("client",), "One tenant's clients, per period: filter on period, then add up."),
        "by_initiator_v1": (
            ("initiator",),
            "What started one tenant's jobs, per period: filter on period, then add up.",
        ),
    }
    for name, (dimensions, comment) in slices.items():
        columns = PLACE | {key: value for each in dimensions for key, value in BY[each].items()}
        sliced = [
            f"m.{column} {'<>' if dimension in dimensions else '='} {ALL_OF[column]}"
            for dimension, column in COLUMN_OF.items()
        ]
        _create_view(name, comment, columns, [NAMES[each] for each in dimensions], sliced)
    comment = (
        "Every stored combination of one tenant: filter on period and on all three *_is_all,"
        " or jobs count more than once."
    )
    _create_view("aggregate_metrics_v1", comment, PLACE | CUBE, list(NAMES.values()), [])


def _create_view(
    name: str, comment: str, columns: dict[str, tuple[str, str]], joins: list[str], where: list[str]
) -> None:
    selected = [f"{expression} AS {column}" for column, (expression, _) in columns.items()]
    selected += [f"m.{column}" for column in FIGURES]
    op.execute(
        f"CREATE VIEW {SCHEMA}.{name} WITH (security_invoker = true) AS"
        f" SELECT {', '.join(selected)} FROM {SCHEMA}.aggregate_metrics AS m"
        f" LEFT JOIN {SCHEMA}.organizations AS o ON o.id = m.organization_id {' '.join(joins)}"
        # The policies say so, too; here it is what the index is searched by.
        f" WHERE {' AND '.join([f'm.organization_id = {ASKING}', *where])}"
    )
    described = {column: text for column, (_, text) in columns.items()}
    connection = op.get_bind()
    for column in FIGURES:
        described[column] = connection.scalar(
            sa.text(
                "SELECT col_description(attrelid, attnum) FROM pg_attribute"
                f" WHERE attrelid = '{SCHEMA}.aggregate_metrics'::regclass AND attname = :column"
            ),
            {"column": column},
        )
    op.execute(f"COMMENT ON VIEW {SCHEMA}.{name} IS {_quoted(comment)}")
    for column, text in described.items():
        op.execute(f"COMMENT ON COLUMN {SCHEMA}.{name}.{column} IS {_quoted(text)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

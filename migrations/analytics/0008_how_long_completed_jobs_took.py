"""How long completed jobs took is told apart: a workflow that fails fast must not look faster."""

import sqlalchemy as sa
from alembic import op

revision = "analytics_0008"
down_revision = "analytics_0007"
branch_labels = None
depends_on = None

SCHEMA = "analytics"
TABLE = "aggregate_metrics"
VIEWS = ("org_totals_v1", "by_workflow_v1", "by_client_v1", "by_initiator_v1", "aggregate_metrics_v1")
COLUMNS = {
    "median_completed_duration_ms": "Median duration in milliseconds of the jobs that ended COMPLETED;"
    " NULL when none of them is timed.",
    "p95_completed_duration_ms": "Milliseconds within which 95 percent of the jobs that ended COMPLETED"
    " ended, interpolated; NULL when none of them is timed.",
}
CHECK = "durations_of_completed_are_in_order"
LAST = "m.computed_at"
ADDED = "".join(f",\n    m.{column}" for column in COLUMNS)


def upgrade() -> None:
    """Add two columns to the table, where the next refresh fills them, and to the end of every view."""
    for column, comment in COLUMNS.items():
        op.add_column(TABLE, sa.Column(column, sa.Double, comment=comment), schema=SCHEMA)
    op.create_check_constraint(
        op.f(f"{TABLE}_{CHECK}"),
        TABLE,
        "num_nulls(median_completed_duration_ms, p95_completed_duration_ms) IN (0, 2)"
        " AND (median_completed_duration_ms IS NULL"
        " OR median_completed_duration_ms >= min_duration_ms AND p95_completed_duration_ms <= max_duration_ms"
        " AND median_completed_duration_ms <= p95_completed_duration_ms)",
        schema=SCHEMA,
    )
    for view in VIEWS:
        definition = _definition(view)
        assert definition.count(f"{LAST}\n") == 1
        wider = definition.replace(LAST, LAST + ADDED)
        op.execute(f"CREATE OR REPLACE VIEW {SCHEMA}.{view} WITH (security_invoker = true) AS {wider}")
        for column, comment in COLUMNS.items():
            op.execute(f"COMMENT ON COLUMN {SCHEMA}.{view}.{column} IS '{comment}'")


def downgrade() -> None:
    """Take the columns away; every view is made anew, with its comments and for those who may read it."""
    for view in VIEWS:
        definition, comments, readers = _definition(view), _comments(view), _readers(view)
        op.execute(f"DROP VIEW {SCHEMA}.{view}")
        narrower = definition.replace(ADDED, "")
        op.execute(f"CREATE VIEW {SCHEMA}.{view} WITH (security_invoker = true) AS {narrower}")
        for what, comment in comments:
            op.execute(f"COMMENT ON {what} IS {comment}")
        for reader in readers:
            op.execute(f"GRANT SELECT ON {SCHEMA}.{view} TO {reader}")
    op.drop_constraint(op.f(f"{TABLE}_{CHECK}"), TABLE, schema=SCHEMA)
    for column in COLUMNS:
        op.drop_column(TABLE, column, schema=SCHEMA)


def _definition(view: str) -> str:
    return str(op.get_bind().scalar(sa.text(f"SELECT pg_get_viewdef('{SCHEMA}.{view}'::regclass)")))


def _comments(view: str) -> list[tuple[str, str]]:
    """What each comment that stays is on, and its text as a literal."""
    asked = f"""
        SELECT 'VIEW {SCHEMA}.{view}', quote_literal(obj_description('{SCHEMA}.{view}'::regclass))
        UNION ALL
        SELECT
            format('COLUMN {SCHEMA}.{view}.%I', attname),
            quote_literal(col_description(attrelid, attnum))
        FROM pg_attribute
        WHERE attrelid = '{SCHEMA}.{view}'::regclass AND attname <> ALL (:added)
            AND col_description(attrelid, attnum) IS NOT NULL
    """
    return [(what, text) for what, text in op.get_bind().execute(sa.text(asked), {"added": list(COLUMNS)})]


def _readers(view: str) -> list[str]:
    asked = f"""
        SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE oid = '{SCHEMA}.{view}'::regclass AND privilege_type = 'SELECT' AND grantee <> relowner
    """
    return list(op.get_bind().scalars(sa.text(asked)))

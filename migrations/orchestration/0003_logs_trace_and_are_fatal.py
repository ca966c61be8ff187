"""Lines of a log can trace, and be fatal."""

from alembic import op

revision = "orchestration_0003"
down_revision = "orchestration_0002"
branch_labels = None
depends_on = None

SCHEMA = "orchestration"
BEFORE = ("DEBUG", "INFO", "WARN", "ERROR")
OF_PROBLEMS = "execution_logs_by_job_id_timestamp_of_problems"


def upgrade() -> None:
    """Add two levels; no table is locked or read for it, and nobody may use them before this is committed."""
    op.execute(f"ALTER TYPE {SCHEMA}.log_level ADD VALUE 'TRACE' BEFORE 'DEBUG'")
    op.execute(f"ALTER TYPE {SCHEMA}.log_level ADD VALUE 'FATAL' AFTER 'ERROR'")


def downgrade() -> None:
    """Write TRACE as DEBUG and FATAL as ERROR: every line is rewritten, for a type loses no value else."""
    listed = ", ".join(f"'{level}'" for level in BEFORE)
    op.execute(f"DROP INDEX {SCHEMA}.{OF_PROBLEMS}")
    op.execute(f"ALTER TYPE {SCHEMA}.log_level RENAME TO log_level_with_trace")
    op.execute(f"CREATE TYPE {SCHEMA}.log_level AS ENUM ({listed})")
    op.execute(
        f"ALTER TABLE {SCHEMA}.execution_logs ALTER COLUMN level TYPE {SCHEMA}.log_level USING"
        " (CASE level::text WHEN 'TRACE' THEN 'DEBUG' WHEN 'FATAL' THEN 'ERROR' ELSE level::text END)"
        f"::{SCHEMA}.log_level"
    )
    op.execute(f"DROP TYPE {SCHEMA}.log_level_with_trace")
    op.execute(
        f"CREATE INDEX {OF_PROBLEMS} ON {SCHEMA}.execution_logs (job_id, timestamp DESC)"
        f" WHERE level >= 'WARN'::{SCHEMA}.log_level"
    )
    op.execute(
        f"COMMENT ON TYPE {SCHEMA}.log_level IS 'How grave a line of a log is, the least grave first.'"
    )

"""Jobs and steps keep their watermarks and restatements in the same tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "analytics_0007"
down_revision = "analytics_0006"
branch_labels = None
depends_on = None

SCHEMA = "analytics"

ASKING = "nullif(current_setting('execmetrics.organization_id', true), '')::uuid"
WRITES = "(SELECT has_table_privilege(current_user, 'analytics.aggregate_metrics', 'INSERT'))"

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
)
DIMENSIONS = {"workflow_id": "uuid", "client_id": "uuid", "initiator_type": "text"}

# Constraints that say the same of both tables have the same name.
RENAMED = {
    "total_is_completed_plus_failed": "total_is_the_sum_of_the_outcomes",
    "total_duration_is_zero_when_none_is_timed": "total_is_zero_when_none_is_timed",
}

# Comments, as they were and as they are.
COMMENTS = {
    ("aggregate_metrics", "period_start"): (
        "Inclusive start of the bucket the jobs completed in.",
        "Inclusive start of the bucket the jobs ended in.",
    ),
    ("aggregate_metrics", "timed_executions"): (
        "Jobs among them with an honest duration (not negative): the n behind every duration here.",
        "Jobs among them with a valid duration (not negative): the n behind every duration here.",
    ),
    ("aggregate_metrics", "total_duration_ms"): (
        "Milliseconds from start to completion, summed over the timed jobs; 0 when there is none.",
        "Milliseconds that the timed jobs took together; 0 when no job is timed.",
    ),
    ("aggregate_step_metrics", "timed_executions"): (
        "Steps among them with an honest duration (given, not negative): the n behind every duration here.",
        "Steps among them with a valid duration (given, not negative): the n behind every duration here.",
    ),
    ("aggregate_step_metrics", "total_duration_ms"): (
        "Milliseconds that the timed steps took together; 0 when there is none.",
        "Milliseconds that the timed steps took together; 0 when no step is timed.",
    ),
}
VIEWS = ("org_totals_v1", "by_workflow_v1", "by_client_v1", "by_initiator_v1", "aggregate_metrics_v1")

# The numbers of the grouping sets of steps count their own dimensions only.
STEP_SETS = ("hour=8+9 day=8+9 week=8+9 month=8+9", "hour=2+3 day=2+3 week=2+3 month=2+3")

MOVED = (
    "extracted_at, facts_table_id, published_version, published_at, definition_version, time_zone,"
    " zone_offsets"
)


def upgrade() -> None:
    """Move watermarks and restatements; nothing is read or computed anew."""
    _create_watermarks()
    op.execute(
        f"""
        INSERT INTO {SCHEMA}.watermarks (
            subject, organization_id, checkpoint, swept_at, complete_through, {MOVED},
            rebuilding_version, rebuilt_before, run_id, verified_at, audited_at,
            guarded_at, guarded_rows, guarded_since, edition
        )
        SELECT
            'jobs', organization_id,
            CASE
                WHEN c.horizon IS NOT NULL
                    THEN jsonb_build_object('identity', c.incarnation, 'horizon', c.horizon)
            END,
            coalesce(c.swept_at, 'epoch'), p.complete_through, {MOVED},
            p.rebuilding_version, p.rebuilt_before, p.run_id, p.verified_at, p.audited_at,
            p.withheld_at, p.withheld_jobs, p.withheld_created_since, p.edition
        FROM {SCHEMA}.completeness AS p
        LEFT JOIN {SCHEMA}.extraction_cursors AS c USING (organization_id)
        """
    )
    op.execute(
        f"""
        INSERT INTO {SCHEMA}.watermarks (
            subject, organization_id, checkpoint, swept_at, complete_through, {MOVED},
            run_id, guarded_at, guarded_rows, guarded_since
        )
        SELECT
            'steps', organization_id, jsonb_build_object('identity', incarnation, 'horizon', horizon),
            extracted_at, extracted_at, {MOVED},
            run_id, withheld_at, withheld_steps, withheld_ended_since
        FROM {SCHEMA}.step_completeness
        """
    )
    for table in ("step_completeness", "completeness", "extraction_cursors"):
        op.drop_table(table, schema=SCHEMA)
    _keep_restatements_as_json()
    for old, new in RENAMED.items():
        op.execute(
            f"ALTER TABLE {SCHEMA}.aggregate_metrics"
            f" RENAME CONSTRAINT aggregate_metrics_{old} TO aggregate_metrics_{new}"
        )
    _comment(1)
    op.execute(
        f"UPDATE {SCHEMA}.metric_definitions"
        f" SET definition = replace(definition, '{STEP_SETS[0]}', '{STEP_SETS[1]}')"
        " WHERE definition LIKE 'steps;%'"
    )
    # One run publishes jobs and steps, and each has an outcome of its own.
    op.drop_constraint(
        op.f("refresh_outcomes_primary_key"), "refresh_outcomes", schema=SCHEMA, type_="primary"
    )
    op.create_primary_key(
        op.f("refresh_outcomes_primary_key"),
        "refresh_outcomes",
        ["run_id", "organization_id", "subject"],
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Put the watermarks back into their own tables, and the restatements of jobs into columns."""
    op.drop_constraint(
        op.f("refresh_outcomes_primary_key"), "refresh_outcomes", schema=SCHEMA, type_="primary"
    )
    op.execute(
        f"""
        DELETE FROM {SCHEMA}.refresh_outcomes AS of_steps
        WHERE
            subject = 'steps'
            AND EXISTS (
                SELECT FROM {SCHEMA}.refresh_outcomes AS of_jobs
                WHERE (of_jobs.run_id, of_jobs.organization_id) = (of_steps.run_id, of_steps.organization_id)
                AND of_jobs.subject = 'jobs'
            )
        """
    )
    op.create_primary_key(
        op.f("refresh_outcomes_primary_key"), "refresh_outcomes", ["run_id", "organization_id"], schema=SCHEMA
    )
    op.execute(
        f"UPDATE {SCHEMA}.metric_definitions"
        f" SET definition = replace(definition, '{STEP_SETS[1]}', '{STEP_SETS[0]}')"
        " WHERE definition LIKE 'steps;%'"
    )
    _comment(0)
    for old, new in RENAMED.items():
        op.execute(
            f"ALTER TABLE {SCHEMA}.aggregate_metrics"
            f" RENAME CONSTRAINT aggregate_metrics_{new} TO aggregate_metrics_{old}"
        )
    _keep_restatements_in_columns()
    _create_tables_of_before()
    op.execute(
        f"""
        INSERT INTO {SCHEMA}.extraction_cursors (organization_id, horizon, incarnation, swept_at)
        SELECT organization_id, (checkpoint ->> 'horizon')::bigint, checkpoint ->> 'identity', swept_at
        FROM {SCHEMA}.watermarks
        WHERE subject = 'jobs' AND checkpoint IS NOT NULL
        """
    )
    op.execute(
        f"""
        INSERT INTO {SCHEMA}.completeness (
            organization_id, complete_through, {MOVED}, rebuilding_version, rebuilt_before, run_id,
            verified_at, audited_at, withheld_at, withheld_jobs, withheld_created_since, edition
        )
        SELECT
            organization_id, complete_through, {MOVED}, rebuilding_version, rebuilt_before, run_id,
            verified_at, audited_at, guarded_at, guarded_rows, guarded_since, edition
        FROM {SCHEMA}.watermarks
        WHERE subject = 'jobs'
        """
    )
    op.execute(
        f"""
        INSERT INTO {SCHEMA}.step_completeness (
            organization_id, horizon, incarnation, {MOVED}, run_id,
            withheld_at, withheld_steps, withheld_ended_since
        )
        SELECT
            organization_id, coalesce((checkpoint ->> 'horizon')::bigint, 0),
            coalesce(checkpoint ->> 'identity', ''), {MOVED}, run_id, guarded_at, guarded_rows, guarded_since
        FROM {SCHEMA}.watermarks
        WHERE subject = 'steps'
        """
    )
    op.drop_table("watermarks", schema=SCHEMA)


def _create_watermarks() -> None:
    op.create_table(
        "watermarks",
        sa.Column("subject", sa.Text, nullable=False, comment="What was published: jobs, or steps."),
        sa.Column(
            "organization_id", sa.Uuid, nullable=False, comment="The tenant whose metrics were published."
        ),
        sa.Column(
            "checkpoint",
            postgresql.JSONB,
            comment="Where to go on reading the source: identity says which server, history, database and "
            "table was read, horizon is the 64-bit transaction id below which every transaction had ended."
            " NULL: from the beginning.",
        ),
        _time("swept_at", "When every source row was last looked at, by the source's clock.", nullable=False),
        _time(
            "complete_through",
            "Every row that had ended and been written down before this time is in the metrics: an hour"
            " before it without a row had none.",
            nullable=False,
        ),
        _time("extracted_at", "When the source was last read for it, by the source's clock.", nullable=False),
        sa.Column(
            "facts_table_id",
            sa.Uuid,
            nullable=False,
            comment="Which table of facts they were computed from; another table counts its versions anew.",
        ),
        sa.Column(
            "published_version",
            sa.BigInteger,
            nullable=False,
            comment="The version of that table they agree with.",
        ),
        _time("published_at", "When they were last published.", nullable=False),
        sa.Column(
            "definition_version",
            sa.Integer,
            nullable=False,
            comment="By which definition the figures were computed; 0 is before definitions were counted.",
        ),
        sa.Column(
            "time_zone",
            sa.Text,
            nullable=False,
            comment="The zone in which its days, weeks and months begin.",
        ),
        sa.Column(
            "zone_offsets",
            sa.Text,
            nullable=False,
            comment="MD5 of the zone's rules as the source had them; others restate days, weeks and months.",
        ),
        sa.Column(
            "rebuilding_version",
            sa.Integer,
            comment="The definition that is being computed anew; NULL for none.",
        ),
        _time("rebuilt_before", "Cells that begin before this are of it already; NULL for none."),
        sa.Column("run_id", sa.Uuid, comment="The run that published them."),
        _time("verified_at", "When they were last found equal to plain SQL on the source; NULL for never."),
        _time("audited_at", "When they were last compared with it, whatever came out; NULL for never."),
        _time("guarded_at", "Since when deletes are not believed because they are too many; NULL for none."),
        sa.Column(
            "guarded_rows", sa.BigInteger, comment="How many rows they would take away; NULL for none."
        ),
        sa.Column(
            "guarded_since",
            sa.Date,
            comment="The first day that was looked at when they were found; NULL for all.",
        ),
        sa.Column(
            "edition",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="How often rows were written or removed without a publication: by a repair, a rebuild or"
            " retention. With published_at it names one state of the metrics.",
        ),
        sa.CheckConstraint("subject IN ('jobs', 'steps')", name=op.f("watermarks_subject_is_known")),
        sa.PrimaryKeyConstraint("subject", "organization_id", name=op.f("watermarks_primary_key")),
        schema=SCHEMA,
        comment="How far each organization has been read and published, moved in the transaction that"
        " publishes.",
    )
    _keep_tenants_apart("watermarks")


REASONS = "reason IN ('backfill', 'definition', 'deleted', 'drift', 'edited', 'late', 'retried', 'time_zone')"
NEW_REASON = (
    "late, edited, retried, deleted: what became of rows; time_zone, definition: of rules; backfill: found by"
    " reading a range again; drift: the stored figures were not ours."
)
OLD_REASON = NEW_REASON.replace("became of rows", "became of jobs")
RESTATED = "Cells that changed after their period had been published: figures before and after, and why."


def _keep_restatements_as_json() -> None:
    def json(age: str) -> str:
        pairs = ", ".join(f"'{name}', {age}_{name}" for name in FIGURES)
        return f"CASE WHEN {age}_total_executions IS NOT NULL THEN jsonb_build_object({pairs}) END"

    cell = ", ".join(f"'{name}', {name}" for name in DIMENSIONS)
    _set_aside()
    op.create_table(
        "restatements",
        sa.Column("subject", sa.Text, nullable=False, comment="What the cell measures: jobs, or steps."),
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant."),
        sa.Column("period", sa.Text, nullable=False, comment="The period of the cell."),
        _time("period_start", "The start of its bucket.", nullable=False),
        sa.Column(
            "cell",
            postgresql.JSONB,
            nullable=False,
            comment="Its dimensions by column, with the values that mean all or none.",
        ),
        sa.Column("reason", sa.Text, nullable=False, comment=NEW_REASON),
        sa.Column("run_id", sa.Uuid, nullable=False, comment="The run that wrote the new figures."),
        _time("restated_at", "When they were written.", nullable=False),
        sa.Column(
            "old", postgresql.JSONB, comment="The figures before, by column; NULL where there was no cell."
        ),
        sa.Column(
            "new",
            postgresql.JSONB,
            comment="The figures after, by column; NULL where there is no cell any more.",
        ),
        _time("old_computed_at", "Since when the figures before stood; NULL where there was no cell."),
        sa.CheckConstraint("subject IN ('jobs', 'steps')", name=op.f("restatements_subject_is_known")),
        sa.CheckConstraint(REASONS, name=op.f("restatements_reason_is_known")),
        sa.CheckConstraint("num_nonnulls(old, new) > 0", name=op.f("restatements_something_was_restated")),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "subject",
            "period",
            "period_start",
            "cell",
            "run_id",
            name=op.f("restatements_primary_key"),
        ),
        schema=SCHEMA,
        comment=RESTATED,
    )
    op.execute(
        f"""
        INSERT INTO {SCHEMA}.restatements
        SELECT
            'jobs', organization_id, period, period_start, jsonb_build_object({cell}),
            reason, run_id, restated_at, {json("old")}, {json("new")}, old_computed_at
        FROM {SCHEMA}.restatements_before
        """
    )
    _finish_restatements()


def _keep_restatements_in_columns() -> None:
    comments = {
        "workflow_id": "Its workflow, or all.",
        "client_id": "Its client, all, or none.",
        "initiator_type": "Its initiator type, all, or unknown.",
    }
    ages = (("old", "Before"), ("new", "After"))
    figures = [(age, when, name, name.endswith("_executions")) for age, when in ages for name in FIGURES]
    _set_aside()
    op.create_table(
        "restatements",
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant."),
        sa.Column("period", sa.Text, nullable=False, comment="The period of the cell."),
        _time("period_start", "The start of its bucket.", nullable=False),
        *(
            sa.Column(name, sa.Uuid if type_ == "uuid" else sa.Text, nullable=False, comment=comments[name])
            for name, type_ in DIMENSIONS.items()
        ),
        sa.Column("reason", sa.Text, nullable=False, comment=OLD_REASON),
        sa.Column("run_id", sa.Uuid, nullable=False, comment="The run that wrote the new figures."),
        _time("restated_at", "When they were written.", nullable=False),
        *(
            sa.Column(
                f"{age}_{name}",
                sa.BigInteger if is_count else sa.Double,
                comment=f"{when}; NULL where there was no cell, or no such figure.",
            )
            for age, when, name, is_count in figures
        ),
        _time("old_computed_at", "Since when the figures before stood; NULL where there was no cell."),
        sa.CheckConstraint(REASONS, name=op.f("restatements_reason_is_known")),
        sa.CheckConstraint(
            "num_nonnulls(old_total_executions, new_total_executions) > 0",
            name=op.f("restatements_something_was_restated"),
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "period",
            "period_start",
            *DIMENSIONS,
            "run_id",
            name=op.f("restatements_primary_key"),
        ),
        schema=SCHEMA,
        comment=RESTATED,
    )
    dimensions = ", ".join(f"(cell ->> '{name}')::{type_}" for name, type_ in DIMENSIONS.items())
    values = ", ".join(
        f"({age} ->> '{name}')::{'bigint' if is_count else 'double precision'}"
        for age, _, name, is_count in figures
    )
    op.execute(
        f"""
        INSERT INTO {SCHEMA}.restatements
        SELECT
            organization_id, period, period_start, {dimensions}, reason, run_id, restated_at, {values},
            old_computed_at
        FROM {SCHEMA}.restatements_before
        WHERE subject = 'jobs'
        """
    )
    _finish_restatements()


def _set_aside() -> None:
    op.rename_table("restatements", "restatements_before", schema=SCHEMA)
    for name in ("primary_key", "reason_is_known", "something_was_restated"):
        op.execute(
            f"ALTER TABLE {SCHEMA}.restatements_before"
            f" RENAME CONSTRAINT restatements_{name} TO restatements_before_{name}"
        )
    op.drop_index("restatements_by_restated_at", table_name="restatements_before", schema=SCHEMA)


def _finish_restatements() -> None:
    op.drop_table("restatements_before", schema=SCHEMA)
    op.create_index("restatements_by_restated_at", "restatements", ["restated_at"], schema=SCHEMA)
    _keep_tenants_apart("restatements")


def _create_tables_of_before() -> None:
    definition = (
        "definition_version",
        "By which definition the figures were computed; 0 is before definitions were counted.",
    )
    horizon = (
        "64-bit transaction id of the source below which every transaction had ended: the next run reads the"
        " rows written at or after it."
    )
    incarnation = "Which server, history, database and table was read; another one is read in full."
    offsets = "MD5 of the zone's rules as the source had them; others restate days, weeks and months."
    zone = "The zone in which its days, weeks and months begin."
    version = "The version of that table they agree with."
    withheld = "Since when deletes are withheld because they are too many; NULL for none."
    published = [_time("published_at", "When they were last published.", nullable=False)]
    op.create_table(
        "extraction_cursors",
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant whose jobs were read."),
        sa.Column("horizon", sa.BigInteger, nullable=False, comment=horizon),
        sa.Column("incarnation", sa.Text, nullable=False, comment=incarnation),
        _time("swept_at", "When every row was last looked at, by the source's clock.", nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("extraction_cursors_primary_key")),
        schema=SCHEMA,
        comment="How far each organization's jobs have been read from the source.",
    )
    op.create_table(
        "completeness",
        sa.Column(
            "organization_id", sa.Uuid, nullable=False, comment="The tenant whose metrics were published."
        ),
        _time(
            "complete_through",
            "Every job that had completed and been written down before this time is in the metrics: an hour"
            " before it without a row had no jobs.",
            nullable=False,
        ),
        _time("extracted_at", "When the source was last read for it, by the source's clock.", nullable=False),
        sa.Column(
            "facts_table_id",
            sa.Uuid,
            nullable=False,
            comment="Which job_facts table they were computed from; another table counts its versions anew.",
        ),
        sa.Column("published_version", sa.BigInteger, nullable=False, comment=version),
        *published,
        sa.Column(definition[0], sa.Integer, nullable=False, comment=definition[1]),
        sa.Column("time_zone", sa.Text, nullable=False, comment=zone),
        sa.Column("zone_offsets", sa.Text, nullable=False, comment=offsets),
        sa.Column(
            "rebuilding_version",
            sa.Integer,
            comment="The definition that is being computed anew; NULL for none.",
        ),
        _time("rebuilt_before", "Cells that begin before this are of it already; NULL for none."),
        sa.Column("run_id", sa.Uuid, comment="The run that published them."),
        _time("verified_at", "When they were last found equal to plain SQL on the source; NULL for never."),
        _time("audited_at", "When they were last compared with it, whatever came out; NULL for never."),
        _time("withheld_at", withheld),
        sa.Column(
            "withheld_jobs", sa.BigInteger, comment="How many jobs they would take away; NULL for none."
        ),
        sa.Column(
            "withheld_created_since",
            sa.Date,
            comment="The first day of creation that was looked at when they were found; NULL for all.",
        ),
        sa.Column(
            "edition",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="How often rows were written or removed without a publication: by a repair, a rebuild or"
            " retention. With published_at it names one state of the metrics.",
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("completeness_primary_key")),
        schema=SCHEMA,
        comment="How complete each organization's metrics are, moved in the transaction that publishes them.",
    )
    op.create_table(
        "step_completeness",
        sa.Column(
            "organization_id",
            sa.Uuid,
            nullable=False,
            comment="The tenant whose step metrics were published.",
        ),
        sa.Column("horizon", sa.BigInteger, nullable=False, comment=horizon),
        sa.Column("incarnation", sa.Text, nullable=False, comment=incarnation),
        _time(
            "extracted_at",
            "When the source was last read for it, by the source's clock: every step written down before is"
            " in the metrics.",
            nullable=False,
        ),
        sa.Column(
            "facts_table_id",
            sa.Uuid,
            nullable=False,
            comment="Which step_facts table they were computed from; another table counts its versions anew.",
        ),
        sa.Column("published_version", sa.BigInteger, nullable=False, comment=version),
        _time("published_at", "When they were last published.", nullable=False),
        sa.Column(definition[0], sa.Integer, nullable=False, comment=definition[1]),
        sa.Column("time_zone", sa.Text, nullable=False, comment=zone),
        sa.Column("zone_offsets", sa.Text, nullable=False, comment=offsets),
        sa.Column("run_id", sa.Uuid, nullable=False, comment="The run that published them."),
        _time("withheld_at", withheld),
        sa.Column(
            "withheld_steps", sa.BigInteger, comment="How many steps they would take away; NULL for none."
        ),
        sa.Column(
            "withheld_ended_since",
            sa.Date,
            comment="The first day of ending that was looked at when they were found; NULL for all.",
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("step_completeness_primary_key")),
        schema=SCHEMA,
        comment="How complete each organization's step metrics are, moved in the transaction that publishes"
        " them.",
    )
    for table in ("extraction_cursors", "completeness", "step_completeness"):
        _keep_tenants_apart(table)


def _keep_tenants_apart(table: str) -> None:
    op.execute(f"ALTER TABLE {SCHEMA}.{table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {SCHEMA}.{table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY tenants_read_their_own ON {SCHEMA}.{table} FOR SELECT"
        f" USING (organization_id = {ASKING})"
    )
    op.execute(f"CREATE POLICY writers_write_all ON {SCHEMA}.{table} USING ({WRITES}) WITH CHECK ({WRITES})")


def _comment(which: int) -> None:
    for (table, column), texts in COMMENTS.items():
        _comment_on(table, column, texts[which])
        if table == "aggregate_metrics":
            for view in VIEWS:
                _comment_on(view, column, texts[which])


def _comment_on(relation: str, column: str, comment: str) -> None:
    text = comment.replace("'", "''")
    op.execute(f"COMMENT ON COLUMN {SCHEMA}.{relation}.{column} IS '{text}'")


def _time(name: str, comment: str, **options: bool) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **options)

"""Mistakes that an engine like this one could have: the text of each, and the test that must notice."""

from dataclasses import dataclass
from pathlib import Path

HISTORIES = "tests/laws/test_histories.py"
CRASHES = "tests/torture/test_crashes.py"
TIERS = "tests/torture/test_tiers.py"
ANOMALIES = "tests/torture/test_anomalies.py"


@dataclass(frozen=True)
class Change:
    """What is written in a file instead of what; the old text occurs once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A mistake, what it would do to the table, and the test that has to fail for it."""

    name: str
    breaks: str
    changes: tuple[Change, ...]
    test: str

    def apply(self, tree: Path) -> None:
        """Make the mistake in a copy of the product; raises `LookupError` unless each text is there once."""
        for change in self.changes:
            path = tree / change.path
            text = path.read_text("utf-8")
            if text.count(change.old) != 1:
                raise LookupError(f"{self.name}: {change.path} does not say once: {change.old}")
            path.write_text(text.replace(change.old, change.new), "utf-8")


MUTANTS = (
    Mutant(
        "the horizon is read after the rows",
        "what is committed in between is never read",
        (
            Change(
                "pipelines/extract.py",
                "            moment = source.moment\n",
                "            with open_source(databases.source_url, settings) as later:\n"
                "                moment = later.moment\n",
            ),
        ),
        "tests/torture/test_told_again.py::test_what_is_committed_while_rows_are_read_is_read_next_time",
    ),
    Mutant(
        "cursors move before the facts are written",
        "a kill in between loses what was read",
        (
            Change(
                "pipelines/extract.py",
                '        with stages.timed("facts"):\n',
                "        from pipelines.storage.cursors import move_cursors\n"
                "        with connect(databases.analytics_url, settings) as early:\n"
                "            move_cursors(early, extraction.swept, extraction.moment)\n"
                "            extraction = replace(extraction, seen=find_progress(early))\n"
                '        with stages.timed("facts"):\n',
            ),
        ),
        "tests/torture/test_told_again.py::test_what_was_read_and_not_written_is_read_again",
    ),
    Mutant(
        "the cell that a job left is forgotten",
        "a job that moves is counted twice",
        (
            Change(
                "pipelines/publish.py",
                '        yield known.filter(pl.col("_commit_version") > pl.col("seen"))\n',
                '        known = known.filter(pl.col("_change_type") != "update_preimage")\n'
                '        yield known.filter(pl.col("_commit_version") > pl.col("seen"))\n',
            ),
        ),
        "tests/postgres/test_refresh.py::test_a_reassigned_job_leaves_one_cell_and_enters_another",
    ),
    Mutant(
        "emptied cells stay",
        "a cell that nothing is left in shows what was there",
        (
            Change(
                "sql/load/delete_emptied_cells.sql",
                "staged.total_executions = 0",
                "staged.total_executions < 0",
            ),
        ),
        "tests/postgres/test_refresh.py::test_a_soft_deleted_job_leaves_no_ghost",
    ),
    Mutant(
        "past the horizon instead of at it",
        "the oldest transaction that was open is never read",
        (
            Change(
                "sql/extract/asked/swept.sql",
                "OR ((j.xmin::text::bigint - cursors.horizon) & 4294967295) < 2147483648",
                "OR ((j.xmin::text::bigint - cursors.horizon - 1) & 4294967295) < 2147483647",
            ),
        ),
        "tests/postgres/test_source.py::test_a_sweep_reads_what_was_written_at_the_horizon_or_later",
    ),
    Mutant(
        "transaction ids are compared as numbers",
        "nothing is read any more once they have wrapped around",
        (
            Change(
                "sql/extract/asked/swept.sql",
                "OR ((j.xmin::text::bigint - cursors.horizon) & 4294967295) < 2147483648",
                "OR j.xmin::text::bigint >= cursors.horizon",
            ),
        ),
        "tests/postgres/test_source.py::test_transaction_ids_are_compared_on_their_circle",
    ),
    Mutant(
        "longer medians come from hourly ones",
        "the median of a day or a month is that of its hours' medians",
        (
            Change(
                "pipelines/compute/aggregate.py",
                '        self._duckdb.register("jobs", _Stream(chunk))\n',
                '        coarse, there = pl.col("duration_us"), jobs.frame.columns\n'
                '        if period is not Period.HOUR and "hour" in there:\n'
                '            hours = pl.lit(jobs.frame["hour"])\n'
                '            coarse = coarse.median().over("organization", hours).cast(pl.Int64)\n'
                "        chunk = chunk.with_columns(coarse_us=coarse)\n"
                '        self._duckdb.register("jobs", _Stream(chunk))\n',
            ),
            Change(
                "sql/compute/cells.sql",
                "quantile_cont(duration_us, {shares})",
                "quantile_cont(coarse_us, {shares})",
            ),
        ),
        HISTORIES,
    ),
    Mutant(
        "the index is asked without a lookback",
        "what a slow clock wrote waits for the next sweep",
        (
            Change(
                "pipelines/extract.py",
                "{key: seen[key].extracted_at - lookback for key in by_index}",
                "{key: seen[key].extracted_at for key in by_index}",
            ),
        ),
        "tests/postgres/test_no_change_is_missed.py::test_the_index_looks_back_as_far_as_it_is_told",
    ),
    Mutant(
        "the index moves the cursor of the sweep",
        "what the index cannot show is lost for good",
        (
            Change(
                "pipelines/extract.py",
                "swept=frozenset(reading.swept.horizons) | reading.strangers,",
                "swept=frozenset(reading.organization_ids()),",
            ),
        ),
        TIERS,
    ),
    Mutant(
        "the row hash forgets the client",
        "a job that is edited into another client stays in the old one's cells",
        (
            Change(
                "sql/extract/row_hash.sql",
                "j.organization_id, j.workflow_id, j.client_id, j.initiator_type::text",
                "j.organization_id, j.workflow_id, j.initiator_type::text",
            ),
        ),
        "tests/postgres/test_refresh.py::test_a_reassigned_job_leaves_one_cell_and_enters_another",
    ),
    Mutant(
        "the digest ignores who owns a workflow",
        "a workflow that changed hands makes no day differ",
        (
            Change(
                "sql/extract/digest.sql",
                "        AND coalesce(w.organization_id = j.organization_id, true)\n",
                "",
            ),
        ),
        "tests/postgres/test_digest.py::test_a_digest_says_what_the_counted_rows_add_up_to",
    ),
    Mutant(
        "a new owner is not noticed",
        "jobs of a workflow that was handed over count where they did",
        (
            Change(
                "pipelines/storage/names.py",
                'statement("read/changed_owners.sql"), values).fetchall())',
                'statement("read/changed_owners.sql"), values).fetchall()[:0])',
            ),
        ),
        ANOMALIES,
    ),
    Mutant(
        "a batch commits without moving its version",
        "cells show other facts than they say, and changes are computed for ever",
        (
            Change(
                "sql/load/advance_completeness.sql",
                "    published_version = excluded.published_version,\n",
                "",
            ),
        ),
        HISTORIES,
    ),
    Mutant(
        "cells are committed before what goes with them",
        "a kill in between leaves cells that no version tells of",
        (
            Change(
                "pipelines/storage/aggregates.py",
                "        passing(FaultPoint.CELLS_UPSERTED)\n",
                "        self._connection.commit()\n        passing(FaultPoint.CELLS_UPSERTED)\n",
            ),
        ),
        CRASHES,
    ),
    Mutant(
        "every day has today's offset from UTC",
        "days on the other side of summer time begin an hour off",
        (
            Change(
                "pipelines/compute/calendar.py",
                '        .sort("time_zone", "since")\n',
                '        .sort("time_zone", "since")\n'
                '        .unique("time_zone", keep="last", maintain_order=True)\n',
            ),
        ),
        "tests/unit/test_calendar.py::test_a_day_begins_at_midnight_by_the_clocks",
    ),
    Mutant(
        "another time zone restates nothing",
        "days stay cut where they were",
        (
            Change(
                "pipelines/publish.py",
                "frozenset(key for key in known - lost if extraction.calendar.differs(key, seen[key]))",
                "frozenset()",
            ),
        ),
        "tests/postgres/test_local_time.py::test_another_zone_restates_days_and_longer_and_nothing_else",
    ),
    Mutant(
        "a job that counts again is not let in",
        "what was deleted by mistake and restored is missing",
        (
            Change(
                "pipelines/storage/facts_merge.py",
                'pl.col("known").is_null() | pl.col("was_gone") | differs',
                'pl.col("known").is_null() | differs',
            ),
        ),
        "tests/unit/test_facts.py::test_a_job_that_counts_again_is_as_new",
    ),
    Mutant(
        "jobs that left are counted",
        "deleted jobs stay in the figures",
        (
            Change(
                "pipelines/storage/facts.py",
                'return rows_of(self._table, self._kind).filter(pl.col("gone").is_null()).drop("gone")',
                'return rows_of(self._table, self._kind).drop("gone")',
            ),
        ),
        "tests/unit/test_facts.py::test_a_job_that_stops_counting_keeps_its_row_and_the_reason",
    ),
    Mutant(
        "a range is reconciled as if it were everything",
        "jobs that completed outside of it vanish",
        (
            Change(
                "pipelines/extract.py",
                'pl.col("completed_at").is_between(completed.since, completed.until, closed="left")',
                "pl.lit(True)",
            ),
        ),
        "tests/postgres/test_reconcile.py::test_a_reconcile_deletes_within_its_range_only",
    ),
    Mutant(
        "everything is published anew, and the leftovers stay",
        "after lost facts the cells of purged jobs are still there",
        (
            Change(
                "pipelines/publish.py",
                "                    publication.stage_leftovers(these, why)\n",
                "                    pass\n",
            ),
        ),
        "tests/postgres/test_rebuilding_facts.py::test_what_happened_while_the_facts_were_gone_is_found",
    ),
    Mutant(
        "a batch computes the changes of other organizations too",
        "their cells move before their version does",
        (
            Change(
                "pipelines/publish.py",
                "        return self._images.scan().filter(of_organizations(organization_ids))",
                "        return self._images.scan()",
            ),
        ),
        "tests/postgres/test_isolation.py::test_a_failing_batch_is_halved_until_the_culprit_is_alone",
    ),
    Mutant(
        "repaired anomalies stay listed",
        "a job is counted and listed as not counted",
        (
            Change(
                "pipelines/publish.py",
                "unlist_anomalies(analytics, extraction.healed.filter(",
                "unlist_anomalies(analytics, extraction.healed.clear().filter(",
            ),
        ),
        "tests/postgres/test_anomalies.py::test_a_spoilt_row_is_listed_until_it_is_repaired",
    ),
    Mutant(
        "listed jobs are not read again",
        "a job of the future never counts",
        (
            Change(
                "pipelines/extract.py",
                '        return uuids(listed["job_id"].unique())',
                '        return uuids(listed.clear()["job_id"].unique())',
            ),
        ),
        "tests/postgres/test_anomalies.py::test_a_job_from_the_future_is_counted_when_it_is_due",
    ),
    Mutant(
        "a definition that was left halfway counts as whole",
        "cells of another plan go stale and stay",
        (
            Change(
                "pipelines/publish.py",
                "is_of(current) else _NO_DEFINITION",
                "is_of(current) else self._seen[key].definition_version",
            ),
        ),
        "tests/torture/test_told_again.py::test_a_definition_may_change_and_change_back_around_a_kill",
    ),
    Mutant(
        "any number of deletions is believed",
        "a source that was emptied by mistake empties the metrics",
        (Change("pipelines/extract.py", "        if self._request.accept_deletes or", "        if True or"),),
        "tests/postgres/test_isolation.py::test_a_mass_deletion_is_not_believed",
    ),
    Mutant(
        "a restatement tells the first reason that comes",
        "a deletion is told as something else",
        (
            Change(
                "pipelines/model/restatements.py",
                "(Restated.DELETED, Restated.EDITED, Restated.RETRIED, Restated.LATE)",
                "(Restated.LATE, Restated.RETRIED, Restated.EDITED, Restated.DELETED)",
            ),
        ),
        "tests/postgres/test_restatements.py::test_of_several_reasons_the_least_expected_is_told",
    ),
    Mutant(
        "a rebuild goes on where another definition was published meanwhile",
        "combinations that only one definition keeps go stale and stay",
        (
            Change(
                "sql/load/advance_completeness.sql",
                "    rebuilding_version = CASE\n"
                "        WHEN excluded.definition_version <> %(current_definition)s"
                " AND stored.rebuilding_version = %(current_definition)s\n"
                "            THEN stored.rebuilding_version\n    END,\n",
                "    rebuilding_version = stored.rebuilding_version,\n",
            ),
            Change(
                "sql/load/advance_completeness.sql",
                "    rebuilt_before = CASE\n"
                "        WHEN excluded.definition_version <> %(current_definition)s"
                " AND stored.rebuilding_version = %(current_definition)s\n"
                "            THEN stored.rebuilt_before\n    END,\n",
                "    rebuilt_before = stored.rebuilt_before,\n",
            ),
        ),
        "tests/postgres/test_rebuild.py::test_a_definition_may_come_back_after_another_was_published",
    ),
    Mutant(
        "sealed history goes with the facts",
        "what the source has purged disappears from the metrics",
        (Change("pipelines/withheld.py", "    if sealed_before:\n", "    if False:\n"),),
        "tests/postgres/test_rebuilding_facts.py::test_sealed_history_is_not_lost_with_the_facts",
    ),
    Mutant(
        "a reconcile trusts the cells that are there",
        "figures that somebody changed by hand stay",
        (Change("pipelines/refresh.py", "    if completed:\n", "    if False:\n"),),
        "tests/postgres/test_reconcile.py::test_cells_that_somebody_changed_are_put_right",
    ),
    Mutant(
        "a refresh forgives what a digest withheld",
        "nobody hears of deletes that wait to be accepted",
        (
            Change(
                "pipelines/extract.py",
                "        return self.created_since.isoformat() if self.created_since else None\n",
                '        return self.created_since.isoformat() if self.created_since else "-infinity"\n',
            ),
        ),
        "tests/postgres/test_isolation.py::test_withheld_deletes_stand_until_they_were_looked_for_again",
    ),
    Mutant(
        "one that lags takes everybody along",
        "every hour computes everything",
        (
            Change(
                "pipelines/publish.py",
                "plan.without_feed(lagging or plan.by_feed)",
                "plan.without_feed(plan.by_feed)",
            ),
        ),
        "tests/postgres/test_rebuilding_facts.py::test_who_lags_behind_a_lost_feed_is_taken_whole_alone",
    ),
    Mutant(
        "drift is kept only when the period is over",
        "nobody hears of figures that were wrong this month",
        (
            Change(
                "sql/load/keep_restatements.sql",
                "(staged.period_start < published.open_since OR staged.reason = 'drift')",
                "staged.period_start < published.open_since",
            ),
        ),
        "tests/postgres/test_audit.py::test_drift_in_a_period_that_goes_on_is_on_record_too",
    ),
    Mutant(
        "the audit cannot be passed by those that it cannot repair",
        "one organization keeps the others from being looked at",
        (Change("sql/read/audit_order.sql", "completeness.audited_at", "completeness.verified_at"),),
        "tests/postgres/test_audit.py::test_deletes_that_are_withheld_are_left_and_hold_nobody_up",
    ),
    Mutant(
        "the audit repairs from facts that nobody published",
        "cells are deleted because the facts are lost",
        (
            Change(
                "pipelines/workbench.py",
                "if wanted(each, current) and each.shows(facts)}",
                "if wanted(each, current)}",
            ),
            Change(
                "pipelines/workbench.py",
                "        for key in find_unpublished(facts, seen):\n",
                "        for key in ():\n",
            ),
        ),
        "tests/postgres/test_audit.py::test_facts_that_are_gone_delete_no_cell",
    ),
    Mutant(
        "verify looks at jobs alone",
        "a workflow that changed hands is a false alarm",
        (
            Change(
                "pipelines/verify.py",
                "        if changed.workflow_ids or changed.client_ids:\n            yield changed\n",
                "",
            ),
        ),
        "tests/postgres/test_owners.py::test_until_then_its_cells_are_pending",
    ),
    Mutant(
        "a stranger that a digest meets is read in part",
        "its older jobs are missing until the next digest of all",
        (
            Change(
                "pipelines/extract.py",
                "                self._read(CreatedOn(days))\n                self._read_strangers()\n",
                "                self._read(CreatedOn(days))\n",
            ),
        ),
        "tests/postgres/test_no_change_is_missed.py"
        "::test_an_organization_without_a_row_is_read_whole_when_a_digest_meets_it",
    ),
    Mutant(
        "what a cell showed is told for any time before",
        "figures are said to be on record that nobody saw",
        (
            Change(
                "pipelines/explain.py",
                "    return since is not None and since <= moment\n",
                "    return True\n",
            ),
        ),
        "tests/postgres/test_explain.py::test_another_organization_s_first_publication_is_nobody_else_s",
    ),
    Mutant(
        "a snapshot may be open for as long as it likes",
        "the source cannot tidy up",
        (
            Change(
                "pipelines/storage/snapshot.py",
                "        if self.seconds > self._longest_s:\n",
                "        if False:\n",
            ),
        ),
        "tests/postgres/test_lost_connections.py::test_a_snapshot_that_is_open_for_too_long_is_let_go",
    ),
    Mutant(
        "whatever cannot be read is damaged",
        "sound facts are thrown away for want of open files",
        (
            Change(
                "pipelines/storage/facts_table.py",
                "    if number in _NO_DAMAGE or unreachable:\n",
                "    if False:\n",
            ),
        ),
        "tests/unit/test_damaged_facts.py::test_want_of_open_files_is_no_damage",
    ),
    Mutant(
        "cells that wait to be computed anew have to add up",
        "one organization's delay stops every run",
        (
            Change(
                "sql/read/buckets_that_do_not_add_up.sql",
                " AND rebuilding_version IS NULL\n",
                " AND rebuilding_version IS NULL OR true\n",
            ),
        ),
        "tests/assets/test_checks.py::test_cells_of_an_older_definition_need_not_add_up",
    ),
    Mutant(
        "steps of a job that changed are not read again",
        "a soft-deleted or reassigned job keeps its steps where they were",
        (
            Change(
                "pipelines/steps/extract.py",
                "        self._read(self._steps.of_changed_jobs(cursors))\n",
                "",
            ),
        ),
        "tests/steps/test_steps.py::test_whatever_becomes_of_a_line_the_next_refresh_follows",
    ),
    Mutant(
        "a dropped month takes its steps along",
        "metrics vanish with the logs",
        (
            Change(
                "pipelines/steps/extract.py",
                "        self.sealed_before = steps.sealed_before()\n",
                "        self.sealed_before = None\n",
            ),
        ),
        "tests/steps/test_sealed_months.py::test_a_dropped_month_is_sealed",
    ),
    Mutant(
        "a month goes while a step of it is not published",
        "its metrics never hear of the step",
        (
            Change(
                "pipelines/steps/published.py",
                "        if days.height:\n",
                "        if days.height > 1_000:\n",
            ),
        ),
        "tests/steps/test_sealed_months.py::test_a_month_may_go_once_it_is_published",
    ),
    Mutant(
        "a step that lasted a negative time is timed",
        "means and percentiles are dragged down",
        (
            Change(
                "pipelines/compute/aggregate.py",
                "    return pl.when(duration_us >= 0).then(duration_us)\n",
                "    return duration_us\n",
            ),
        ),
        "tests/steps/test_steps.py::test_a_negative_duration_is_counted_and_not_timed",
    ),
    Mutant(
        "steps of another workflow are taken for all",
        "a tenant's workflow is told the steps of its others",
        (
            Change(
                "sql/read/of_tenant/step_durations.sql",
                " AND workflow_id = %(workflow_id)s\n",
                " AND workflow_id = %(all_workflows)s\n",
            ),
        ),
        "tests/steps/test_step_repository.py::test_one_workflow_is_asked_for",
    ),
    Mutant(
        "steps of another tenant are told",
        "whoever connects as the writer sees everybody's steps",
        (
            Change(
                "sql/read/of_tenant/step_durations.sql",
                "    WHERE organization_id = %(organization_id)s AND",
                "    WHERE %(organization_id)s::uuid IS NOT NULL AND",
            ),
        ),
        "tests/steps/test_step_repository.py::test_one_bucket_is_exact",
    ),
    Mutant(
        "no line of a large batch is checked",
        "a line of a log belongs to nobody, or to somebody else's job",
        (
            Change(
                "pipelines/storage/log_copying.py",
                '            _apply_keys(connection, "origin")\n',
                '            _apply_keys(connection, "replica")\n',
            ),
        ),
        "tests/executions/test_log_copying.py::test_a_line_of_a_foreign_job_is_noticed_wherever_it_comes",
    ),
)

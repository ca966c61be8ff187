"""Mistakes that an engine like this one could have: where each is made, and the test that must notice."""

from tests.mutants.mutating import Mutant, Python, Sql

HISTORIES = "tests/torture/test_histories.py::test_every_history_ends_in_the_right_table"
ANOMALIES = "tests/torture/test_histories.py::test_every_finished_job_is_counted_or_listed"

MUTANTS = (
    Mutant(
        "the horizon is read after the rows",
        "what is committed in between is never read",
        Python("pipelines.extract.extractor", "_read_jobs").insert_after(
            "guarded = reading.read_what_is_gone()",
            """
            with open_source(run.databases.source_url, run.settings) as later:
                source.moment = later.moment
            """,
        ),
        test="tests/torture/test_told_again.py::test_what_is_committed_while_rows_are_read_is_read_next_time",
    ),
    Mutant(
        "cursors move before the facts are written",
        "a kill in between loses what was read",
        Python("pipelines.extract.extractor", "extract").insert_before(
            'with run.stages.timed("facts"): ...',
            """
            with run.analytics() as early:
                early.execute(
                    "UPDATE analytics.watermarks SET checkpoint = %s WHERE subject = %s",
                    [extraction.checkpoint, subject.name],
                )
                extraction = replace(extraction, seen=find_watermarks(early, subject))
            """,
        ),
        test="tests/torture/test_told_again.py::test_what_was_read_and_not_written_is_read_again",
    ),
    Mutant(
        "the cell that a job left is forgotten",
        "a job that moves is counted twice",
        Python("pipelines.publish.publisher", "unpublished_changes").insert_before(
            "yield ...", 'recent = recent.filter(pl.col("_change_type") != "update_preimage")'
        ),
        test="tests/postgres/test_refresh.py::test_a_reassigned_job_leaves_one_cell_and_enters_another",
    ),
    Mutant(
        "emptied cells stay",
        "a cell that nothing is left in shows what was there",
        Sql("publish/delete_emptied").replace("staged.{total} = 0", "staged.{total} < 0"),
        test="tests/postgres/test_refresh.py::test_a_soft_deleted_job_leaves_no_ghost",
    ),
    Mutant(
        "past the horizon instead of at it",
        "the oldest transaction that was open is never read",
        Sql("source_jobs/selected_swept").replace(
            "age(j.xmin) <= cursors.oldest", "age(j.xmin) < cursors.oldest"
        ),
        test="tests/postgres/test_source.py::test_a_sweep_reads_what_was_written_at_the_horizon_or_later",
    ),
    Mutant(
        "the count finds what is past the horizon instead of at it",
        "the oldest transaction that was open is counted and never read",
        Sql("source_jobs/census").replace("age(j.xmin) <= (", "age(j.xmin) < ("),
        test="tests/postgres/test_source.py::test_a_sweep_reads_what_was_written_at_the_horizon_or_later",
    ),
    Mutant(
        "transaction ids are compared as numbers",
        "nothing is read any more once they have wrapped around",
        Sql("source_jobs/selected_swept").replace(
            "age((known.horizon & 4294967295)::text::xid) AS oldest", "-known.horizon AS oldest"
        ),
        Sql("source_jobs/selected_swept").replace(
            "age(j.xmin) <= cursors.oldest", "-j.xmin::text::bigint <= cursors.oldest"
        ),
        test="tests/postgres/test_source.py::test_transaction_ids_are_compared_on_their_circle",
    ),
    Mutant(
        "longer medians come from hourly ones",
        "the median of a day or a month is that of its hours' medians",
        Python("pipelines.compute.cells", "NumberedRows.in_buckets").replace(
            "self.frame.lazy().select",
            """
            self.frame.lazy().with_columns(
                coarse_us=pl.col("duration_us")
                if period is Period.HOUR or "hour" not in self.frame.columns
                else pl.col("duration_us").median().over("organization", "hour").cast(pl.Int64)
            ).with_columns
            """,
        ),
        Python("pipelines.compute.cells", "CellsOf._aggregated").replace(
            "cells_statement(self.subject)",
            'cells_statement(self.subject).replace("quantile_cont(duration_us", "quantile_cont(coarse_us")',
        ),
        test=HISTORIES,
    ),
    Mutant(
        "the index is asked without a lookback",
        "what a slow clock wrote waits for the next sweep",
        Python("pipelines.extract.jobs", "JobReading.__init__").replace(
            "... - self._settings.lookback", "..."
        ),
        test="tests/postgres/test_no_change_is_missed.py::test_the_index_looks_back_as_far_as_it_is_told",
    ),
    Mutant(
        "the index moves the cursor of the sweep",
        "what the index cannot show is lost for good",
        Python("pipelines.extract.extractor", "_read_jobs").replace(
            "frozenset(reading.swept.horizons) | reading.orphans", "frozenset(reading.organization_ids())"
        ),
        test="tests/postgres/test_no_change_is_missed.py"
        "::test_a_large_table_is_searched_by_its_index_until_a_sweep_is_due",
    ),
    Mutant(
        "the row hash forgets the client",
        "a job that is edited into another client stays in the old one's cells",
        Sql("source_jobs/row_hash").remove("j.client_id,"),
        test="tests/postgres/test_refresh.py::test_a_reassigned_job_leaves_one_cell_and_enters_another",
    ),
    Mutant(
        "the checksum ignores who owns a workflow",
        "a workflow that changed hands makes no day differ",
        Sql("source_jobs/checksums").remove("AND coalesce(w.organization_id = j.organization_id, true)"),
        test="tests/postgres/test_checksums.py::test_checksums_say_what_the_counted_rows_add_up_to",
    ),
    Mutant(
        "a new owner is not noticed",
        "jobs of a workflow that was handed over count where they did",
        Python("pipelines.state.dimension_tables", "_former_owners").replace(
            "(...).fetchall()", "(...).fetchall()[:0]"
        ),
        test=ANOMALIES,
    ),
    Mutant(
        "a batch commits without moving its version",
        "cells show other facts than they say, and changes are computed for ever",
        Sql("watermarks/advance").remove("published_version = excluded.published_version,"),
        test=HISTORIES,
    ),
    Mutant(
        "cells are committed before what goes with them",
        "a kill in between leaves cells that no version tells of",
        Python("pipelines.publish.writer", "Writer.replace").insert_before(
            "passing(FaultPoint.CELLS_UPSERTED)", "self._connection.commit()"
        ),
        test="tests/torture/test_told_again.py::test_cells_are_kept_only_with_what_goes_with_them",
    ),
    Mutant(
        "every day has today's offset from UTC",
        "days on the other side of summer time begin an hour off",
        Python("pipelines.calendars.calendar", "_spans").replace(
            '(...).sort("time_zone", "since")',
            '(...).sort("time_zone", "since").unique("time_zone", keep="last", maintain_order=True)',
        ),
        test="tests/unit/test_calendar.py::test_a_day_begins_at_midnight_by_the_clocks",
    ),
    Mutant(
        "a date is a day in UTC",
        "a range is another one for a command than for the page",
        Python("pipelines.state.time_zones", "ReadCalendar.clock_of").replace(
            "self._clocks[self.zone_of(organization_id)]", "WallClock()"
        ),
        test="tests/postgres/cli/test_reports.py::test_a_bare_date_is_each_organizations_own_day",
    ),
    Mutant(
        "another time zone restates nothing",
        "days stay cut where they were",
        Python("pipelines.publish.publisher", "_Plan.of").replace(
            "frozenset(key for key in known - lost if extraction.calendar.differs(key, seen[key]))",
            "frozenset()",
        ),
        test="tests/postgres/test_local_time.py::test_another_zone_restates_days_and_longer_and_nothing_else",
    ),
    Mutant(
        "a job that counts again is not let in",
        "what was deleted by mistake and restored is missing",
        Python("pipelines.facts.merge", "needed").replace('... | pl.col("was_tombstone")', "..."),
        test="tests/unit/test_facts.py::test_a_job_that_counts_again_is_as_new",
    ),
    Mutant(
        "jobs that left are counted",
        "deleted jobs stay in the figures",
        Python("pipelines.facts.fact_table", "Facts.scan").replace(
            "(...).filter(pl.col(TOMBSTONE).is_null())", "..."
        ),
        test="tests/unit/test_facts.py::test_a_job_that_stops_counting_keeps_its_row_and_the_reason",
    ),
    Mutant(
        "a range is reconciled as if it were everything",
        "jobs that completed outside of it vanish",
        Python("pipelines.extract.jobs", "JobReading._asked_for").replace(
            "self._completed.holds()", "pl.lit(True)"
        ),
        test="tests/postgres/test_reconcile.py::test_a_reconcile_deletes_within_its_range_only",
    ),
    Mutant(
        "everything is published anew, and the leftovers stay",
        "after lost facts the cells of purged jobs are still there",
        Python("pipelines.publish.publisher", "Publisher._write_cells").remove(
            "writer.stage_leftovers(these, why)"
        ),
        test="tests/postgres/test_rebuilding_facts.py::test_what_happened_while_the_facts_were_gone_is_found",
    ),
    Mutant(
        "a batch computes the changes of other organizations too",
        "their cells move before their version does",
        Python("pipelines.publish.publisher", "Publisher._changed").replace(
            "(...).filter(of_organizations(organization_ids))", "..."
        ),
        test="tests/postgres/test_isolation.py::test_a_failing_batch_is_halved_until_the_culprit_is_alone",
    ),
    Mutant(
        "repaired anomalies stay listed",
        "a job is counted and listed as not counted",
        Python("pipelines.publish.publisher", "Publisher._record").replace(
            "findings.healed", "findings.healed.clear()"
        ),
        test="tests/postgres/test_anomalies.py::test_a_spoilt_row_is_listed_until_it_is_repaired",
    ),
    Mutant(
        "listed jobs are not read again",
        "a job of the future never counts",
        Python("pipelines.extract.jobs", "JobReading._read_listed").replace("anomalies.height", "False"),
        test="tests/postgres/test_anomalies.py::test_a_job_from_the_future_is_counted_when_it_is_due",
    ),
    Mutant(
        "a definition that was left halfway counts as whole",
        "cells of another plan go stale and stay",
        Python("pipelines.publish.publisher", "Publisher._definition_of").replace(
            "_NO_DEFINITION", "self._extraction.seen[key].definition_version"
        ),
        test="tests/torture/test_told_again.py::test_a_definition_may_change_and_change_back_around_a_kill",
    ),
    Mutant(
        "any number of deletions is believed",
        "a source that was emptied by mistake empties the metrics",
        Python("pipelines.extract.reading", "Reading._guarded").replace(
            "self._request.accept_deletes", "True"
        ),
        test="tests/postgres/test_isolation.py::test_a_mass_deletion_is_guarded",
    ),
    Mutant(
        "a restatement tells the first reason that comes",
        "a deletion is told as something else",
        Python("pipelines.subjects.reasons", "BY_WEIGHT").replace(
            "(Restated.DELETED, Restated.EDITED, Restated.RETRIED, Restated.LATE)",
            "(Restated.LATE, Restated.RETRIED, Restated.EDITED, Restated.DELETED)",
        ),
        test="tests/postgres/test_restatements.py::test_of_several_reasons_the_least_expected_is_told",
    ),
    Mutant(
        "a rebuild goes on where another definition was published meanwhile",
        "combinations that only one definition keeps go stale and stay",
        Sql("watermarks/advance").remove(
            """
            WHERE
                excluded.definition_version <> %(current_definition)s
                AND stored.rebuilding_version = %(current_definition)s
            """
        ),
        test="tests/postgres/test_rebuild.py::test_a_definition_may_come_back_after_another_was_published",
    ),
    Mutant(
        "sealed history goes with the facts",
        "what the source has purged disappears from the metrics",
        Python("pipelines.extract.delete_guard", "_lost").replace(
            "if sealed_before and not extraction.sealed_before: ...", "if False: ..."
        ),
        test="tests/postgres/test_rebuilding_facts.py::test_sealed_history_is_not_lost_with_the_facts",
    ),
    Mutant(
        "a reconcile trusts the cells that are there",
        "figures that somebody changed by hand stay",
        Python("pipelines.runs.refresh", "_published").replace("if completed: ...", "if False: ..."),
        test="tests/postgres/test_reconcile.py::test_cells_that_somebody_changed_are_put_right",
    ),
    Mutant(
        "a refresh forgives what a checksum comparison guarded",
        "nobody hears of deletes that wait to be accepted",
        Python("pipelines.extract.request", "Request.settled_since").replace(
            "... if self.created_since else None", '... if self.created_since else "-infinity"'
        ),
        test="tests/postgres/test_isolation.py::test_guarded_deletes_stand_until_they_were_looked_for_again",
    ),
    Mutant(
        "one that lags takes everybody along",
        "every hour computes everything",
        Python("pipelines.publish.publisher", "follow").replace(
            "lagging or followed.keys()", "followed.keys()"
        ),
        test="tests/postgres/test_rebuilding_facts.py::test_who_lags_behind_a_lost_feed_is_taken_whole_alone",
    ),
    Mutant(
        "drift is kept only when the period is over",
        "nobody hears of figures that were wrong this month",
        Sql("publish/keep_restatements").remove("OR staged.reason = 'drift'"),
        test="tests/postgres/test_audit.py::test_drift_in_a_period_that_goes_on_is_on_record_too",
    ),
    Mutant(
        "the audit cannot be passed by those that it cannot repair",
        "one organization keeps the others from being looked at",
        Sql("watermarks/audit_order").replace("published.audited_at", "published.verified_at"),
        test="tests/postgres/test_audit.py::test_deletes_that_are_guarded_are_left_and_hold_nobody_up",
    ),
    Mutant(
        "the audit repairs from facts that nobody published",
        "cells are deleted because the facts are lost",
        Python("pipelines.publish.recompute", "_recomputing").replace("... and each.shows(facts)", "..."),
        Python("pipelines.publish.recompute", "_recomputing").replace(
            "find_unpublished(facts, subject, seen)", "()"
        ),
        test="tests/postgres/test_audit.py::test_facts_that_are_gone_delete_no_cell",
    ),
    Mutant(
        "verify looks at jobs alone",
        "a workflow that changed hands is a false alarm",
        Python("pipelines.runs.verify", "JobComparison._asked").remove("yield of_owners(..., ...)"),
        test="tests/postgres/test_owners.py::test_until_then_its_cells_are_pending",
    ),
    Mutant(
        "an organization that checksums meet for the first time is read in part",
        "its older jobs are missing until the next checksum comparison of all",
        Python("pipelines.extract.jobs", "JobReading._read_days").remove("self._read_orphans()"),
        test="tests/postgres/test_no_change_is_missed.py"
        "::test_an_organization_without_a_row_is_read_whole_when_it_is_met",
    ),
    Mutant(
        "what a cell showed is told for any time before",
        "figures are said to be on record that nobody saw",
        Python("pipelines.runs.explain", "_stood").replace("since is not None and since <= moment", "True"),
        test="tests/postgres/test_explain.py::test_another_organization_s_first_publication_is_nobody_else_s",
    ),
    Mutant(
        "a snapshot may be open for as long as it likes",
        "the source cannot tidy up",
        Python("pipelines.postgres.snapshot", "Snapshot._go_on").replace(
            "self.seconds > self._longest_s", "False"
        ),
        test="tests/postgres/test_lost_connections.py::test_a_snapshot_that_is_open_for_too_long_is_let_go",
    ),
    Mutant(
        "whatever cannot be read is damaged",
        "sound facts are thrown away for want of open files",
        Python("pipelines.facts.folder", "refuse_what_is_no_damage").replace("obstacle_of(failure)", "None"),
        test="tests/unit/test_damaged_facts.py::test_want_of_open_files_is_no_damage",
    ),
    Mutant(
        "cells that wait to be computed anew have to add up",
        "one organization's delay stops every run",
        Sql("checks/buckets_that_do_not_add_up").replace(
            "AND rebuilding_version IS NULL", "AND rebuilding_version IS NULL OR true"
        ),
        test="tests/dagster/test_checks.py::test_cells_of_an_older_definition_need_not_add_up",
    ),
    Mutant(
        "steps of a job that changed are not read again",
        "a soft-deleted or reassigned job keeps its steps where they were",
        Python("pipelines.extract.reading", "RowsReading.read").remove(
            "self._take(self._rows.of_changed_jobs(cursors))"
        ),
        test="tests/postgres/steps/test_steps.py::test_whatever_becomes_of_a_line_the_next_refresh_follows",
    ),
    Mutant(
        "a dropped month takes its steps along",
        "metrics vanish with the logs",
        Python("pipelines.extract.reading", "RowsReading.__init__").replace("rows.sealed_before()", "None"),
        test="tests/postgres/steps/test_sealed_months.py::test_a_dropped_month_is_sealed",
    ),
    Mutant(
        "a month goes while a step of it is not published",
        "its metrics never hear of the step",
        Python("pipelines.runs.log_retention", "why_unpublished").replace(
            "if days.height: ...", "if days.height > 1_000: ..."
        ),
        test="tests/postgres/steps/test_sealed_months.py::test_a_month_may_go_once_it_is_published",
    ),
    Mutant(
        "a step that lasted a negative time is timed",
        "means and percentiles are dragged down",
        Python("pipelines.compute.cells", "_valid").replace(
            "pl.when(duration_us >= 0).then(duration_us)", "duration_us"
        ),
        test="tests/postgres/steps/test_steps.py::test_a_negative_duration_is_counted_and_not_timed",
    ),
    Mutant(
        "steps of another workflow are taken for all",
        "a tenant's workflow is told the steps of its others",
        Python("pipelines.query.metrics", "StepAnalyticsRepository.get_step_duration_stats").replace(
            '{"workflow_id": workflow_id}', '{"workflow_id": None}'
        ),
        test="tests/postgres/steps/test_step_repository.py::test_one_workflow_is_asked_for",
    ),
    Mutant(
        "steps of another tenant are told",
        "whoever connects as the writer sees everybody's steps",
        Sql("tenant_metrics/summed").replace(
            "WHERE organization_id = %(organization_id)s", "WHERE %(organization_id)s::uuid IS NOT NULL"
        ),
        test="tests/postgres/steps/test_step_repository.py::test_one_bucket_is_exact",
    ),
    Mutant(
        "the server hears why a batch of lines failed",
        "a value of a patient stands in the log of the database server",
        Python("pipelines.executions.execution_logs", "ExecutionLogRepository.create_many").replace(
            "raise _CutOff from None", "raise"
        ),
        test="tests/postgres/executions/test_execution_logs.py::test_a_failure_of_the_caller_leaves_no_line_behind",
    ),
)

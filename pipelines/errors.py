"""Failures, named for what they mean to the person who meets them; the docstring is the message."""

import inspect


class ExecutionMetricsError(Exception):
    """Something in execution-metrics went wrong."""

    exit_code = 1

    def __init__(self, detail: str = "") -> None:
        message = " ".join(inspect.cleandoc(type(self).__doc__ or "").split())
        super().__init__(f"{message} {detail}".strip())


def is_panic(failure: BaseException) -> bool:
    """Whether a library written in Rust gave up; each has its own class for it, and none is an Exception."""
    return type(failure).__module__ == "pyo3_runtime"


def is_failure(failure: BaseException) -> bool:
    """Whether something failed; otherwise somebody wants the program to end."""
    return isinstance(failure, Exception) or is_panic(failure)


class UsageError(ExecutionMetricsError):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class InvalidSetting(UsageError):
    """A setting has a value that cannot be used."""


class InvalidRange(UsageError):
    """A range is written as [since, until): two dates or RFC 3339 times, the earlier one first."""


class InvalidOrganization(UsageError):
    """An organization is named by its UUID, 8-4-4-4-12 hexadecimal digits."""


class DatabaseUnreachable(UsageError):
    """The database does not answer or lets nobody in; check the URL, its role, and that the server runs."""


class NotPermitted(UsageError):
    """This database role may not do that; `execmetrics grants` prints what each role needs."""


class DatabaseReadOnly(ExecutionMetricsError):
    """The database lets nobody write: it is a standby, or its administrator or a full disk made it so."""


class DatabaseTooOld(ExecutionMetricsError):
    """The server cannot do what a statement of ours needs; use PostgreSQL 14 or newer, without a pooler."""


class DatabaseBusy(ExecutionMetricsError):
    """Another session was in the way; nothing of this transaction was kept, run again."""


class LimitExceeded(ExecutionMetricsError):
    """A value or a statement is larger than the server allows; nothing of this transaction was kept."""


class RelationsUnexpected(ExecutionMetricsError):
    """The database lacks something that a statement of ours names, or has it in another shape; `execmetrics
    migrate` brings our tables up to date, `execmetrics doctor` examines the source."""


class ServerFailed(ExecutionMetricsError):
    """The server itself failed, at its files or inside; its log says more, run again when it is well."""


class ValueRefused(ExecutionMetricsError):
    """The database refused a value or could not compute with one; nothing of this transaction was kept."""


class PathNotUsable(UsageError):
    """A folder or file cannot be used: it is missing, something else, not ours to read or write, or its name
    is too long; name another, or put it right."""


class DiskFull(ExecutionMetricsError):
    """The disk has no room left, or this process may write no more to it; make room and run again."""


class DiskFailed(ExecutionMetricsError):
    """A disk, a network share or another machine failed; run again when it is well."""


class ProcessExhausted(ExecutionMetricsError):
    """The machine lets this process have no more memory, open files or threads; allow it more, run again."""


class StoreUnreachable(UsageError):
    """The object store does not answer, or not in time; check its endpoint, the network and NO_PROXY."""


class StoreRefused(UsageError):
    """The object store refuses us; check the URL, its bucket and the credentials of the environment."""


class EngineFailed(ExecutionMetricsError):
    """A library that computes, reads or writes has failed inside; what was not committed is undone, run again
    and report it if it comes again."""


class SchemaMissing(UsageError):
    """The database has no up-to-date tables of ours; run `execmetrics migrate` first."""


class SchemaNewer(SchemaMissing):
    """The database was migrated by a newer execution-metrics; install that version or a later one."""


class MigrationBlocked(ExecutionMetricsError):
    """The tables are in use and could not be changed in time; nothing was changed, migrate again later."""


class MigrationRefused(UsageError):
    """The database refused the migration; nothing was changed."""


class SourceMissing(UsageError):
    """The source has no readable orchestration schema; check EXECMETRICS_SOURCE_URL and its grants, or ask
    execmetrics doctor."""


class SourceUnfit(UsageError):
    """A column of the source is not of the type that the contract wants, so its values could be misread; ask
    execmetrics doctor, which prints the view that mends it."""


class InvalidMapping(UsageError):
    """Where the source keeps something is said like --table jobs=Execution, --column jobs.status=state or
    --status DONE=COMPLETED."""


class UnknownOrganization(UsageError):
    """No such organization in the source or in the aggregates; give its id, the source's own id of it or its
    name, as execmetrics status lists them."""


class AmbiguousOrganization(UsageError):
    """Several organizations have that name; give the id of the one that is meant."""


class EmbeddedPostgresError(ExecutionMetricsError):
    """The embedded PostgreSQL could not be started; see its log, or set EXECMETRICS_DATABASE_URL."""

    exit_code = 2


class InvalidTrace(UsageError):
    """The folder to import is not a trace we can read; nothing was imported."""


class AnotherRunHoldsTheLock(ExecutionMetricsError):
    """Another run is still at work and did not end within EXECMETRICS_LOCK_TIMEOUT; run again later."""


class SessionsShared(UsageError):
    """A pooler gives one session of the server to several connections in turn, so a run can lock nothing; put
    its pool into session mode, or connect to the server itself."""


class StatementTimedOut(ExecutionMetricsError):
    """A statement took longer than EXECMETRICS_STATEMENT_TIMEOUT; nothing was published."""


class SnapshotTimedOut(ExecutionMetricsError):
    """Reading took longer than EXECMETRICS_SNAPSHOT_TIMEOUT, in one snapshot; nothing was published."""


class StatementCancelled(ExecutionMetricsError):
    """A statement was cancelled, by Ctrl-C or by the database's administrator; nothing was published."""

    # What a shell expects of a program that Ctrl-C ended.
    exit_code = 130


class FactsUnusable(ExecutionMetricsError):
    """The facts cannot be read; a refresh sets their folder aside, and they are rebuilt from the source. In
    an object store move them away first."""


class FactsNewer(UsageError):
    """The facts have columns of a newer execution-metrics; install that version or a later one, or move the
    folder away to have everything read again."""


class FactsNotReadable(ExecutionMetricsError):
    """The facts could not be read, for want of memory, open files or a network share; they are not damaged,
    so run again with it."""


class FeedLost(ExecutionMetricsError):
    """The change feed of the facts no longer reaches back to what was published."""


class PublishConflict(ExecutionMetricsError):
    """Somebody else published these organizations meanwhile; nothing was written, run again."""


class DatabaseExhausted(ExecutionMetricsError):
    """The database has no room left: disk, memory or connections; what was not committed is undone."""


class CommitUnknown(ExecutionMetricsError):
    """The connection was lost while a commit was under way, and nobody can be asked whether it was made."""


class FactsConflict(ExecutionMetricsError):
    """Somebody else changed the facts meanwhile; nothing was lost, run again."""


class FactsNotWritten(ExecutionMetricsError):
    """The facts could not be written, for want of space or rights; nothing was lost, run again with both."""


class SourceConflict(ExecutionMetricsError):
    """The standby cancelled the read because it had to catch up; run again, or raise
    max_standby_streaming_delay."""


class DeletesNotAccepted(ExecutionMetricsError):
    """More than a tenth of an organization's jobs are gone from the source; if that is right, run
    execmetrics reconcile with --accept-deletes."""


class SealedHistoryLost(ExecutionMetricsError):
    """The facts were read anew, and the source no longer has what completed before
    EXECMETRICS_SEALED_BEFORE; put the old folder of facts back, or do without: execmetrics reconcile
    with --accept-deletes."""


class UnknownTimeZone(ExecutionMetricsError):
    """The source's PostgreSQL does not know the time zone of this organization; correct its time_zone."""


class TooManyFailures(ExecutionMetricsError):
    """More organizations failed than EXECMETRICS_TOLERATED_FAILURES_PCT allows; the others are published."""


class CellNotFound(UsageError):
    """No such cell was ever published; see execmetrics explain --help for how one is named."""


class RangeNotStored(UsageError):
    """That range is not made of what is stored for these dimensions; ask for one that is."""


class UnknownMeasure(UsageError):
    """There is no such measure; each is a column of analytics.aggregate_metrics."""


class WorkflowNotVisible(UsageError):
    """No such workflow for this organization: absent, deleted, or someone else's."""


class ClientNotVisible(UsageError):
    """No such client for this organization: absent, deleted, or someone else's."""


class AnalyticsQueryError(ExecutionMetricsError):
    """The metrics could not be read; try again, and look at the database if that does not help."""


class WebhookRefused(ExecutionMetricsError):
    """The webhook did not take the message; check EXECMETRICS_WEBHOOK_URL."""


class DagsterFailed(ExecutionMetricsError):
    """Dagster ended before its work was done; its log says why."""


class PortInUse(UsageError):
    """That port cannot be listened on; end the program that has it, or choose another with --port (that of
    the dashboard of `execmetrics dev` with --dashboard-port)."""


class AddressNotUsable(UsageError):
    """No server can listen on that address; choose one of this machine's with --host."""


class ServerEnded(ExecutionMetricsError):
    """The HTTP server ended by itself; its words are above."""


class NobodyTrusted(UsageError):
    """Nothing says which tokens are to be believed; set EXECMETRICS_API_SECRET or EXECMETRICS_API_JWKS_URL,
    or try it with --dev."""


class TokenNotAccepted(UsageError):
    """A bearer token is needed that is signed for this API, names an organization and has not expired."""


class TokenKeysUnreachable(ExecutionMetricsError):
    """The keys that tokens are checked with cannot be read; try again in a moment."""


class OrganizationNotVisible(UsageError):
    """No metrics of such an organization for this token: absent, never published, or someone else's."""


class ParameterRepeated(UsageError):
    """Each parameter may be given once."""


class PageGone(UsageError):
    """What that page ended with is no longer there; begin again, without `after`."""


class JobNotVisible(UsageError):
    """No such job for this organization: absent, deleted, or someone else's."""


class RowRefused(UsageError):
    """The database refuses this row, because it breaks a rule of its table; correct it and begin again."""


class ExecutionQueryError(ExecutionMetricsError):
    """The rows of executions could not be read or written; nothing was committed, begin again."""


class UnitOfWorkEnded(UsageError):
    """This unit of work was committed or has ended; begin another one."""


class UnitOfWorkNested(UsageError):
    """A unit of work is open already; use that one, or end it first."""


class AccessUnexplained(UsageError):
    """Rows that may hold personal health data are read by somebody and for a purpose; say both."""


class AccessNotLogged(ExecutionMetricsError):
    """The access could not be written to phi_access_log, so no rows are given out; try again."""


class JsonTooLarge(UsageError):
    """A JSON value is larger than EXECMETRICS_JSON_LIMIT_BYTES; nothing was written."""


class JsonNotStorable(UsageError):
    """A value is not JSON that PostgreSQL can store: it has a key that is no text, a number that is none, a
    NUL character, half a surrogate pair or too many levels; nothing was written."""


class BlobDamaged(ExecutionMetricsError):
    """What blob storage holds is not what was written there: it is missing, cut or changed; put it back from
    a copy, or write it anew."""


class BlobsNotUsable(ExecutionMetricsError):
    """Blob storage could not be read or written; check EXECMETRICS_BLOBS_URL, its rights and its room."""


class BlobsInUse(ExecutionMetricsError):
    """Somebody is writing to blob storage; nothing was swept, sweep again later."""


class RagRulesMalformed(UsageError):
    """Payers or rules do not have the shape of their column; nothing was written."""


class LogPartitionsInUse(ExecutionMetricsError):
    """The partitions of execution_logs are in use and could not be changed in time; nothing was lost, the
    next run tries again."""


class LogArchiveUnusable(ExecutionMetricsError):
    """The archive of a month of execution_logs is missing, or is not as it was written; put the file back
    from a backup."""


class LogArchiveNotWritten(ExecutionMetricsError):
    """A month of execution_logs could not be archived, so it was not dropped; check that
    EXECMETRICS_LOG_ARCHIVE_URL can be written to."""

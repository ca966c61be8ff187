"""Bringing the tables of both schemas to the shape this version expects."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from psycopg import errors as driver_errors
from sqlalchemy import Connection, MetaData, StaticPool, Table, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema, DropSchema, DropTable

from pipelines.errors import MigrationBlocked, MigrationRefused, SchemaNewer
from pipelines.postgres.connections import Run, connect
from pipelines.postgres.schema_checks import revisions
from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION
from pipelines.postgres.statements import folder_of, statement
from pipelines.settings import Settings

# A change that waits for a table makes every reader queue behind it, so it gives up soon.
_TABLE_PATIENCE: Final = "5s"

# `ON DELETE SET NULL (column)` and what the upserts use begin there.
_OLDEST_SERVER: Final = 15


@dataclass(frozen=True)
class BranchMigration:
    """What became of one schema: the revisions before and after, None meaning no tables of ours."""

    branch: str
    before: str | None
    after: str | None
    made_elsewhere: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.before != self.after

    def __str__(self) -> str:
        before, after = self.before or "no tables", self.after or "no tables"
        if self.made_elsewhere:
            return f"{self.branch}: left alone, its tables were made by another program"
        done = f"from {before} to {after}" if self.changed else f"nothing to do, already at {after}"
        return f"{self.branch}: {done}"


@dataclass(frozen=True)
class MigrationReport:
    """What became of each schema that was looked at, the source first."""

    branches: tuple[BranchMigration, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was done at all."""
        return any(branch.changed for branch in self.branches)

    def __str__(self) -> str:
        return "\n".join(str(branch) for branch in self.branches)


def migrate(run: Run, *, with_source: bool = False) -> MigrationReport:
    """Bring our schemas to the newest revision; a source in a database of its own only when asked."""
    wanted = defaultdict[str, list[str]](list)
    if with_source or run.databases.same:
        wanted[run.databases.source_url] += [ORCHESTRATION]
    wanted[run.databases.analytics_url] += [ANALYTICS]
    done = list[BranchMigration]()
    for url, branches in wanted.items():
        with _migrating(url, run.settings) as connection:
            done += [_upgrade_branch(connection, branch) for branch in branches]
    return MigrationReport(tuple(done))


def downgrade(run: Run, *, branch: str, revision: str) -> MigrationReport:
    """Walk one branch back to a revision, or to `base`, which leaves no trace of it."""
    if branch not in (ORCHESTRATION, ANALYTICS):
        raise MigrationRefused(f"There is no branch {branch!r}, only {ORCHESTRATION} and {ANALYTICS}.")
    url = run.databases.source_url if branch == ORCHESTRATION else run.databases.analytics_url
    with _migrating(url, run.settings) as connection:
        before = _revision(connection, branch)
        if before is None:
            _, objects = _schema_objects(connection, branch)
            return MigrationReport((BranchMigration(branch, None, None, made_elsewhere=bool(objects)),))
        if revision not in ("base", *revisions(branch)):
            raise MigrationRefused(f"The branch {branch} has no revision {revision!r}.")
        command.downgrade(_config(branch, connection), f"{branch}@{revision}")
        after = _revision(connection, branch)
        if after is None:
            # Alembic's own table goes, and the schema unless somebody else keeps something in it.
            connection.execute(DropTable(Table("alembic_version", MetaData(), schema=branch)))
            if not _schema_objects(connection, branch)[1]:
                connection.execute(DropSchema(branch))
        return MigrationReport((BranchMigration(branch, before, after),))


def _upgrade_branch(connection: Connection, branch: str) -> BranchMigration:
    before = _revision(connection, branch)
    if before is None:
        present, objects = _schema_objects(connection, branch)
        if branch == ORCHESTRATION and objects:
            return BranchMigration(branch, None, None, made_elsewhere=True)
        if not present:
            connection.execute(CreateSchema(branch))
    if before != revisions(branch)[0]:
        command.upgrade(_config(branch, connection), f"{branch}@head")
    return BranchMigration(branch, before, _revision(connection, branch))


@contextmanager
def _migrating(url: str, settings: Settings) -> Iterator[Connection]:
    """Yield one transaction that nobody else migrates beside; all of it is kept, or nothing."""
    with connect(url, settings) as driver:
        if (version := driver.info.server_version // 10_000) < _OLDEST_SERVER:
            raise MigrationRefused(f"It runs PostgreSQL {version}; {_OLDEST_SERVER} or newer is needed.")
        engine = create_engine("postgresql+psycopg://", creator=lambda: driver, poolclass=StaticPool)
        with _in_sentences(), engine.begin() as connection:
            limits = {
                "patience": f"{settings.lock_timeout.total_seconds() * 1000:.0f}ms",
                "table_patience": _TABLE_PATIENCE,
                "longest": f"{settings.statement_timeout.total_seconds() * 1000:.0f}ms",
            }
            connection.exec_driver_sql(statement("migrations/lock"), limits)
            yield connection


@contextmanager
def _in_sentences() -> Iterator[None]:
    try:
        yield
    except DBAPIError as failure:
        match failure.orig:
            case driver_errors.LockNotAvailable():
                raise MigrationBlocked("Another session holds a lock.") from failure
            case driver_errors.QueryCanceled():
                raise MigrationBlocked("A statement took longer than the limit.") from failure
            case driver_errors.InsufficientPrivilege():
                raise MigrationRefused("This role may not create or change these tables.") from failure
            case driver_errors.IntegrityError(diag=said) if said.constraint_name:
                raise MigrationRefused(
                    f"Rows of {said.schema_name}.{said.table_name} break a rule of this version"
                    f" ({said.constraint_name}); correct them and migrate again."
                ) from failure
            case driver_errors.DuplicateTable() | driver_errors.DuplicateObject():
                raise MigrationRefused("A table of the same name is there that is not ours.") from failure
        raise


def _config(branch: str, connection: Connection) -> Config:
    config = Config()
    # Percent signs would be interpolated, and a path may hold spaces, so it is one per line.
    folder = str(folder_of("migrations")).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("version_locations", f"{folder}/{branch}")
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, branch=branch)
    return config


def _revision(connection: Connection, branch: str) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": branch})
    revision = context.get_current_revision()
    if revision is not None and revision not in revisions(branch):
        raise SchemaNewer
    return revision


def _schema_objects(connection: Connection, schema: str) -> tuple[bool, int]:
    row = connection.exec_driver_sql(statement("migrations/schema_objects"), {"schema": schema}).one()
    return row.present, row.objects

"""Completing the indexes of execution_logs, partition by partition, while others write."""

from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from pipelines.executions.log_partitions import filled
from pipelines.postgres.connections import Connection
from pipelines.postgres.statements import statement
from pipelines.settings import Settings


def complete_indexes(connection: Connection, settings: Settings) -> tuple[str, ...]:
    """Build what partitions lack of an index that was declared on the whole table with ON ONLY.

    Takes a connection that commits by itself; gives the names of what was built. It waits for transactions
    that are open, and nobody waits for it. What a build that was cut off has left is dropped and built anew.
    """
    milliseconds = round(settings.lock_timeout.total_seconds() * 1000)
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(milliseconds)])
    with connection.cursor(row_factory=dict_row) as cursor:
        lacking = cursor.execute(statement("log_partitions/incomplete_indexes")).fetchall()
    for row in lacking:
        if row["leftover"]:
            connection.execute(filled("drop_index", child=row["child"]))
        if not row["built"]:
            name, method = Identifier(row["child"]), SQL(row["method"])
            connection.execute(filled("build_index", name=name, partition=row["partition"], method=method))
        connection.execute(filled("attach_index", parent=row["parent"], child=row["child"]))
    return tuple(row["child"] for row in lacking)

"""What PostgreSQL's own catalog says about the tables of a schema."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pipelines.postgres.connections import Databases

SCHEMAS = ("orchestration", "analytics")
HEADS = {"orchestration": "orchestration_0003", "analytics": "analytics_0009"}

# One row per thing: what it is, what it is called, how it is defined, and what its comment says. Partitions
# are what their table is, and come and go with the months.
_THINGS = """
    SELECT
        'schema' AS kind, nspname::text AS name, '' AS definition,
        obj_description(oid, 'pg_namespace') AS comment
    FROM pg_namespace WHERE nspname = %(schema)s
    UNION ALL
    SELECT
        CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END,
        relname,
        relkind::text,
        obj_description(oid, 'pg_class')
    FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND NOT relispartition
    UNION ALL
    SELECT
        CASE relkind WHEN 'v' THEN 'view column' ELSE 'column' END,
        relname || '.' || attname,
        format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
            || coalesce(' default ' || pg_get_expr(adbin, adrelid), ''),
        col_description(attrelid, attnum)
    FROM pg_attribute AS a
    JOIN pg_class AS t ON t.oid = attrelid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = attrelid AND adnum = attnum
    WHERE
        relnamespace = to_regnamespace(%(schema)s)
        AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped AND NOT relispartition
    UNION ALL
    -- PostgreSQL 18 keeps NOT NULL as a constraint too; the columns say so already.
    SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(pg_constraint.oid), NULL
    FROM pg_constraint
    LEFT JOIN pg_class AS k ON k.oid = conrelid
    WHERE connamespace = to_regnamespace(%(schema)s) AND contype <> 'n' AND relispartition IS NOT TRUE
    UNION ALL
    SELECT 'policy', polrelid::regclass || '.' || polname, pg_get_expr(polqual, polrelid), NULL
    FROM pg_policy JOIN pg_class AS p ON p.oid = polrelid WHERE relnamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid), NULL
    FROM pg_index JOIN pg_class AS i ON i.oid = indexrelid
    WHERE relnamespace = to_regnamespace(%(schema)s) AND NOT relispartition
    UNION ALL
    SELECT
        'type',
        typname,
        (SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
        obj_description(oid, 'pg_type')
    FROM pg_type AS t WHERE typnamespace = to_regnamespace(%(schema)s) AND typtype = 'e'
    ORDER BY 1, 2
"""

Thing = tuple[str, str, str, str | None]


def things(url: str, schema: str) -> list[Thing]:
    """Everything in a schema, and the schema itself: kind, name, definition and comment."""
    with psycopg.connect(url) as connection:
        return connection.execute(_THINGS, {"schema": schema}).fetchall()


def shapes(databases: Databases) -> dict[str, list[Thing]]:
    """Both schemas of one database as the catalog knows them."""
    return {schema: things(databases.analytics_url, schema) for schema in SCHEMAS}


@contextmanager
def unchanged(databases: Databases) -> Iterator[None]:
    """See that both schemas are the same afterwards."""
    before = shapes(databases)
    yield
    assert shapes(databases) == before


def tables_of(connection: psycopg.Connection, schema: str) -> list[str]:
    """The tables of a schema by their qualified names, without partitions."""
    rows = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = to_regnamespace(%s)"
        " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1",
        [schema],
    )
    return [name for (name,) in rows]


def constraints(url: str, schema: str, kinds: str) -> set[str]:
    """The names of a schema's constraints of some kinds, as the catalog abbreviates them."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT conname FROM pg_constraint LEFT JOIN pg_class AS t ON t.oid = conrelid"
            " WHERE connamespace = to_regnamespace(%s) AND contype::text = ANY (%s)"
            " AND relispartition IS NOT TRUE",
            [schema, list(kinds)],
        )
        return {name for (name,) in rows}

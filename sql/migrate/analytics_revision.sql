-- Which migration the analytics schema is at.
-- Takes: nothing.
-- Gives: at most one row: version_num.
SELECT version_num FROM analytics.alembic_version

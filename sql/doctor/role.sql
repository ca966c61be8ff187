-- Whose rights are looked at, and what this database is.
-- Takes: role text, NULL for the role that is connected; in a session that did not choose its time zone.
-- Gives: one row: role text, present boolean, database text, in_utc boolean (whether sessions are in UTC unless
--        they say otherwise).
SELECT
    coalesce(%(role)s, current_user)::text AS role,
    EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = coalesce(%(role)s, current_user)) AS present,
    current_database()::text AS database,
    lower(current_setting('TimeZone')) IN ('utc', 'etc/utc', 'gmt', 'etc/gmt', 'uct', 'zulu', 'universal') AS in_utc

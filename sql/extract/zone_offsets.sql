-- When the clocks of these time zones changed, by this server's rules: where days, weeks and months begin.
-- Takes: execmetrics.time_zones, a JSON array of names; execmetrics.calendar_since and .calendar_until,
--        timestamptz.
-- Gives: one row per zone and offset from UTC: time_zone, since timestamptz (the first one is
--        calendar_since), offset_s integer, the seconds to add to UTC. None of a zone that the server does
--        not list: to ask for its time would be an error, and to some abbreviations it gives two answers.
WITH RECURSIVE zones AS MATERIALIZED (
    SELECT DISTINCT z.time_zone
    FROM jsonb_array_elements_text(current_setting('execmetrics.time_zones')::jsonb) AS z (time_zone)
    WHERE EXISTS (
        SELECT FROM pg_timezone_names AS listed
        WHERE lower(listed.name COLLATE "C") = lower(z.time_zone COLLATE "C")
    )
),
-- Stretches in which the offset changes, halved until they are a second long. Two changes that undo each
-- other within the first three days would be overlooked; since 2000 no zone had them within six days.
-- "They differ" is said as an equality, of which the planner expects few rows: for many it would compile
-- the statement first, and that takes longer than all the rest.
changing AS (
    SELECT
        zones.time_zone,
        stretch.since,
        262144 AS seconds
    FROM zones
    CROSS JOIN generate_series(
        current_setting('execmetrics.calendar_since')::timestamptz,
        current_setting('execmetrics.calendar_until')::timestamptz,
        interval '262144 seconds'
    ) AS stretch (since)
    WHERE
        CASE
            WHEN
                ((stretch.since + interval '262144 seconds') AT TIME ZONE zones.time_zone)
                - (stretch.since AT TIME ZONE zones.time_zone) <> interval '262144 seconds'
                THEN 1
        END = 1
    UNION ALL
    SELECT
        changing.time_zone,
        half.since,
        half.seconds
    FROM changing
    CROSS JOIN LATERAL (
        VALUES
        (changing.since, changing.seconds / 2),
        (changing.since + make_interval(secs => changing.seconds / 2), changing.seconds / 2)
    ) AS half (since, seconds)
    WHERE
        half.seconds > 0
        AND CASE
            WHEN
                ((half.since + make_interval(secs => half.seconds)) AT TIME ZONE changing.time_zone)
                - (half.since AT TIME ZONE changing.time_zone) <> make_interval(secs => half.seconds)
                THEN 1
        END = 1
),
begun AS (
    SELECT
        time_zone,
        current_setting('execmetrics.calendar_since')::timestamptz AS since
    FROM zones
    UNION ALL
    SELECT
        time_zone,
        since + interval '1 second' AS since
    FROM changing
    WHERE seconds = 1
)
SELECT
    time_zone,
    since,
    extract(EPOCH FROM (since AT TIME ZONE time_zone) - (since AT TIME ZONE 'UTC'))::integer AS offset_s
FROM begun

-- Which organizations the generated month has: sizes fall off as Zipf's law, the first is the biggest.
-- Takes: organization_ids uuid[] (the biggest first), seed bigint, jobs bigint.
-- Gives: the temporary table month_organizations, one row per organization.
CREATE TEMPORARY TABLE month_organizations ON COMMIT DROP AS
WITH sized AS (
    SELECT
        rank,
        power(rank, -1.1) / sum(power(rank, -1.1)) OVER () AS share,
        sum(power(rank, -1.1)) OVER (ORDER BY rank) / sum(power(rank, -1.1)) OVER () AS share_so_far
    FROM generate_series(1, cardinality(%(organization_ids)s::uuid[])) AS rank
)
SELECT
    rank::integer AS rank,
    (%(organization_ids)s::uuid[])[rank] AS id,
    (ARRAY[
        'Northgate', 'Harborview', 'Cedar Valley', 'Summit', 'Riverbend', 'Lakeshore', 'Silver Birch', 'Prairie',
        'Bluewater', 'Granite Ridge', 'Maple Grove', 'Coastal', 'High Desert', 'Fox Hollow', 'Orchard', 'Stonebridge',
        'Willow Creek', 'Red Canyon', 'Evergreen', 'Meadowlark', 'Two Rivers', 'Juniper', 'Pine Harbor'
    ])[1 + mod(rank - 1, 23)] || ' ' || (ARRAY[
        'Health Partners', 'Medical Group', 'Care Network', 'Physicians', 'Community Health', 'Billing Services',
        'Specialty Care', 'Hospital Trust', 'Family Clinics', 'Surgical Associates', 'Diagnostics'
    ])[1 + mod(rank - 1, 11)] || CASE WHEN rank > 253 THEN ' ' || (1 + (rank - 1) / 253) ELSE '' END AS name,
    (ARRAY[
        'America/New_York', 'America/Chicago', 'America/New_York', 'America/Los_Angeles', 'America/Denver', 'UTC'
    ])[1 + mod(rank - 1, 6)] AS time_zone,
    (3 + floor(9 * sqrt(share / max(share) OVER ())))::integer AS workflows,
    (1 + floor(40 * sqrt(share / max(share) OVER ())))::integer AS clients,
    0.7 + 0.8 * pg_temp.draw(rank, %(seed)s) AS slowness,
    round((share_so_far - share) * %(jobs)s)::bigint AS jobs_before,
    round(share_so_far * %(jobs)s)::bigint AS jobs_so_far
FROM sized

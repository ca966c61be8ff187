-- What the organizations of the month automate: the biggest does nearly everything, the smallest three things.
-- Takes: month text, seed bigint, days int.
-- Gives: the temporary table month_workflows, one row per workflow, numbered from 0 within its organization;
-- below_share is where its part of the organization's jobs begins. incident_since_ms (from the beginning of the
-- month) is set on one workflow only: a bad deployment on an afternoon past the middle.
CREATE TEMPORARY TABLE month_workflows ON COMMIT DROP AS
WITH catalogue (name, weight, median_s, spread, failure_rate, rhythm) AS (
    VALUES
        ('Eligibility check', 30.0, 4.2, 0.55, 0.021, 'office'),
        ('Claim status', 22.0, 9.5, 0.70, 0.034, 'office'),
        ('Prior authorization', 14.0, 95.0, 0.90, 0.062, 'office'),
        ('Appointment reminder', 16.0, 1.3, 0.35, 0.008, 'office'),
        ('Claim submission', 12.0, 18.0, 0.60, 0.045, 'night'),
        ('Remittance posting', 9.0, 41.0, 0.80, 0.027, 'night'),
        ('Referral intake', 7.0, 150.0, 1.00, 0.055, 'office'),
        ('Lab result routing', 11.0, 2.6, 0.50, 0.011, 'always'),
        ('Medication refill', 8.0, 12.0, 0.65, 0.019, 'office'),
        ('Denial follow-up', 5.0, 240.0, 1.05, 0.081, 'office'),
        ('Patient registration', 10.0, 33.0, 0.75, 0.016, 'office'),
        ('Chart retrieval', 4.0, 420.0, 1.10, 0.073, 'always'),
        ('Coverage discovery', 6.0, 27.0, 0.85, 0.040, 'night'),
        ('Statement delivery', 5.0, 3.1, 0.40, 0.009, 'night')
),
chosen AS (
    SELECT
        organization.rank,
        organization.id AS organization_id,
        catalogue.*,
        row_number() OVER (
            PARTITION BY organization.rank
            ORDER BY
                catalogue.name NOT IN ('Eligibility check', 'Claim status', 'Prior authorization'),
                pg_temp.draw(organization.rank, %(seed)s + hashtext(catalogue.name))
        ) - 1 AS slot,
        catalogue.weight * (0.5 + pg_temp.draw(-organization.rank, %(seed)s + hashtext(catalogue.name))) AS part,
        organization.workflows,
        organization.clients,
        organization.time_zone,
        organization.slowness
    FROM month_organizations AS organization
    CROSS JOIN catalogue
)
SELECT
    rank,
    slot::integer AS slot,
    organization_id,
    md5(%(month)s || '/workflow/' || rank || '/' || slot)::uuid AS id,
    name,
    clients,
    time_zone,
    ln(1000 * slowness * median_s) AS log_median_ms,
    spread,
    failure_rate,
    rhythm,
    sum(part) OVER (PARTITION BY rank ORDER BY slot) / sum(part) OVER (PARTITION BY rank)
        - part / sum(part) OVER (PARTITION BY rank) AS below_share,
    incident.since_ms AS incident_since_ms,
    incident.since_ms + 6 * 3600000 AS incident_until_ms
FROM chosen
LEFT JOIN (
    SELECT %(days)s::integer * 16 / 30 * 86400000::bigint + 14 * 3600000 AS since_ms
) AS incident ON rank = least(2, (SELECT max(rank) FROM month_organizations)) AND name = 'Prior authorization'
WHERE slot < workflows

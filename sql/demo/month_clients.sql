-- Which clinics the organizations of the month work for.
-- Takes: month text. Gives: the temporary table month_clients, numbered from 0 within an organization.
CREATE TEMPORARY TABLE month_clients ON COMMIT DROP AS
SELECT
    organization.rank,
    number,
    organization.id AS organization_id,
    md5(%(month)s || '/client/' || organization.rank || '/' || number)::uuid AS id,
    (ARRAY[
        'Oak Street', 'Lakeside', 'Mill Road', 'North End', 'Hillcrest', 'Riverside', 'Parkway', 'Old Town',
        'Sunrise', 'Valley', 'West Side', 'Garden', 'Harbor', 'Fairview', 'Crossroads', 'Southgate', 'Union Square'
    ])[1 + mod(organization.rank * 5 + number, 17)] || ' ' || (ARRAY[
        'Pediatrics', 'Cardiology', 'Family Medicine', 'Orthopedics', 'Dermatology', 'Urgent Care', 'Imaging',
        'Oncology', 'Physical Therapy', 'Dental', 'Eye Care', 'Internal Medicine'
    ])[1 + mod(organization.rank * 7 + number, 12)] AS name
FROM month_organizations AS organization
CROSS JOIN LATERAL generate_series(0, organization.clients - 1) AS number

-- A number in [0, 1) that follows from what is drawn and for whom, so that a month is the same on every machine.
-- Takes: nothing. Gives: the temporary function draw(number, what). It hashes 32 bits of the number with the hash of
-- hash partitions, which PostgreSQL cannot change without moving everybody's rows.
CREATE OR REPLACE FUNCTION pg_temp.draw(number bigint, what bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE
RETURN (hashint8extended(number, what) & 9007199254740991) / 9007199254740992.0::double precision

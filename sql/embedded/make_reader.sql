-- Make the role that the dashboard of an embedded database reads as.
-- Takes: nothing.
-- Gives: the role dashboard_reader; an error when it is there.
CREATE ROLE dashboard_reader LOGIN

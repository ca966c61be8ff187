-- One tenant's figures over a range, of everything or of one workflow, client and initiator type.
-- Takes: what summed.sql does, which is put in place of {summed}; none of the dimensions is NULL.
-- Gives: one row: the columns of asked, and those of figures, NULL when nothing was counted.
WITH {summed}
SELECT asked.*, figures.*
FROM asked
LEFT JOIN figures ON true

-- One tenant's figures over a range for each initiator type that started a job in it, those that take longest first.
-- Takes: what summed.sql does, which is put in place of {summed}; initiator_type is NULL, the others are not.
-- Gives: one row per initiator type: the columns of asked, which (the type), and the columns of figures. Without jobs
--        one row, in which which is NULL.
WITH {summed}
SELECT asked.*, figures.initiator_type AS which, figures.*
FROM asked
LEFT JOIN figures ON true
ORDER BY figures.average_duration_ms DESC NULLS LAST, figures.initiator_type

-- Make room for the next cells of organizations without any.
-- Takes: the table first_cells.
-- Gives: nothing.
TRUNCATE first_cells

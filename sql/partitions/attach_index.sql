-- Make an index the part of a larger one, which is valid once it has all of its parts.
-- Takes: parent and child (in braces, identifiers).
-- Gives: nothing.
ALTER INDEX {parent} ATTACH PARTITION {child}

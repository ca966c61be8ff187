"""Whatever happens to the source, and whenever it is read: in the end every cell is right."""

"""What keeps a source from being read, and the SQL that mends it."""

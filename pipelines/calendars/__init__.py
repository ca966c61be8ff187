"""When a bucket begins: the clocks of organizations, and ranges that are written in dates."""

"""Frame in, frame out: validation, dirty cells and aggregation."""

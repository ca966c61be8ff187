"""What is measured, as plain data: measures, dimensions, periods and their combinations."""

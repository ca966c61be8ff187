"""What is measured, as plain data: subjects, their facts, dimensions and measures."""

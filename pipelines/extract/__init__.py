"""From the source to the facts."""

"""What one tenant may ask."""

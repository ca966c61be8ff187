"""The use cases: each is one run."""

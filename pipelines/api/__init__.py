"""The HTTP API: what a tenant may ask, asked by a program or a page."""

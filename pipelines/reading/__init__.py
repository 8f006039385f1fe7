"""Fetch and decode images ahead of the step that consumes them."""

READS_IN_FLIGHT = 32
"""Images that one process fetches concurrently: enough for a bucket of the same region, see docs/speed.md."""

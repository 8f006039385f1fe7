"""Fetch and decode images ahead of the step that consumes them."""

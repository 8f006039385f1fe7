"""Measurements of speed; each is a command of its own."""

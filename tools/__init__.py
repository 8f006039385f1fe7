"""Checks of the project that take too long for its tests; each is a command of its own."""

"""Checks that take too long for the tests, each a separate command, and servers for tests and checks."""

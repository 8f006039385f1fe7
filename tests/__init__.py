"""The tests of scenetags."""

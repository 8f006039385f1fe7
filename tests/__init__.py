"""The tests of scenetags, in folders like those of the packages that they test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, for tests of files that are not installed."""

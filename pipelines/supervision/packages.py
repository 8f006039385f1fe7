"""Versions of installed packages."""

from __future__ import annotations

import importlib.metadata
from functools import cache


@cache
def version(package: str) -> str:
    """Return the version of a package, looked up once per process: each look takes a millisecond, and footers name it.

    Raises:
      importlib.metadata.PackageNotFoundError: it is not installed.
    """
    return importlib.metadata.version(package)

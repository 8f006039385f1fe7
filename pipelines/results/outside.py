"""Keep what commands write out of the tables of the output that they read: what lies there is taken for its rows."""

from __future__ import annotations

import os

from pipelines import storage
from pipelines.output.run import RUNS, TABLES
from pipelines.results.files import NoOutputError
from pipelines.results.outputs import Output


def check_outside(output: Output, flag: str, path: str | None) -> None:
    """Verify that what a flag names would not lie in a table of an output, or among its manifests.

    Args:
      output: the output.
      flag: that names it, for the message.
      path: of a file or a folder; None, and `-`, name none.

    Raises:
      NoOutputError: it would.
    """
    if path in (None, "-"):
        return
    place = _resolved(storage.normalize(path))
    for folder in (*TABLES, RUNS):
        own = storage.join(output.path, folder)
        if f"{place}/".startswith(f"{_resolved(own)}/"):
            raise NoOutputError(f"{flag} {path} would be among the output's own files", f"write it outside of {own}")


def _resolved(path: str) -> str:
    return path if storage.is_remote(path) else os.path.realpath(path)

"""The state of an output: which files its tables have, and whether a reader has read all of them in the same state.

A run may commit while a command reads. What it reads is one state of the output, or it is an error: an image whose row
has gone from one file to another meanwhile would have none among the rows that were read, or two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipelines import storage
from pipelines.output.commit import find_unfinished
from pipelines.output.run import FAILURES, PREDICTIONS
from pipelines.results.files import NoOutputError, readable

_LISTINGS = 5
"""Attempts to list tables of which no file comes or goes meanwhile."""


def list_tables(folder: str, named: str) -> dict[str, str]:
    """List the files of predictions and failures, as they are at one time.

    Args:
      folder: of the output.
      named: as the user named it, for the message.

    Returns:
      The fingerprints of the files, by their paths.

    Raises:
      NoOutputError: they cannot be listed, or come and go all the time.
    """
    with listable(named):
        found = _list_once(folder)
        for _ in range(_LISTINGS):
            before, found = found, _list_once(folder)
            if found == before:
                return found
    raise changed(folder)


def check_unchanged(folder: str, fingerprints: Mapping[str, str]) -> None:
    """Verify that the files which were listed are still there, as they were; others may have come.

    Raises:
      NoOutputError: they are not, or cannot be listed.
    """
    with listable(folder):
        now = _list_once(folder)
    if any(now.get(path) != fingerprint for path, fingerprint in fingerprints.items()):
        raise changed(folder)


def check_finished(folder: str) -> None:
    """Verify that no run has moved only a part of the files that it commits, or that replace others.

    Raises:
      NoOutputError: one has, or the output cannot be read.
      OutputError: a journal is damaged, so nobody knows.
    """
    with readable(folder):
        unfinished = find_unfinished(folder)
    if unfinished:
        raise NoOutputError(
            f"{folder} holds only a part of what run {unfinished.run} is moving into place",
            f"run the same command again in a minute or, if that run has died, scenetags recover {folder}",
        )


def changed(folder: str) -> NoOutputError:
    """Return the error of an output that a run has changed while it was read."""
    return NoOutputError(
        f"{folder} was changed while it was read",
        "run the same command again; if a run keeps changing it, wait for its end",
    )


@contextmanager
def listable(path: str) -> Iterator[None]:
    """Report a folder that the storage refuses as one that cannot be listed.

    Raises:
      NoOutputError: it does.
    """
    try:
        yield
    except OSError as error:
        raise NoOutputError(f"cannot list {path}: {error.strerror or error}") from error


def _list_once(folder: str) -> dict[str, str]:
    tables = (storage.list_fingerprints(storage.join(folder, table), ".parquet") for table in (PREDICTIONS, FAILURES))
    return {path: fingerprint for table in tables for path, fingerprint in table.items()}

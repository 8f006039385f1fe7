"""The journal of a commit: the moves and deletions that are left to do, and which of them may be done.

A journal that is found in an output may come from a stranger. Its names are checked one by one: nothing outside of the
output's own tables is moved or deleted.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines import storage
from pipelines.output.run import MERGED, RUNS, SHADOW, STAGING, TABLES
from pipelines.output.tables import OutputError
from pipelines.storage import Move

JOURNAL = "commit.json"

_MOST_BYTES = 1 << 28
"""A million files of a commit take less; an untrusted file may have any number."""

REPLACING = -1
"""Stands for the wave in the journal of an overwrite that replaces rows."""

_STAGING = rf"{STAGING}\d{{8}}T\d{{6}}(?:\.\d{{6}})?Z-[0-9a-f]{{4}}"
_SHADOW = rf"{SHADOW}[0-9a-f]{{12}}"
# No name in UTF-8 has other characters.
_NAME = r"[^/\0\ud800-\udfff]+"
_TABLE_FILE = rf"(?:{'|'.join(TABLES)})/{_NAME}\.parquet"
_MANIFEST = rf"{RUNS}/{_NAME}\.json"
_STAGED_FILE = rf"{_STAGING}/(?:{MERGED}/)?{_TABLE_FILE}"
_SOURCE = re.compile(rf"{_STAGED_FILE}|{_STAGING}/{_MANIFEST}|{_SHADOW}/{_TABLE_FILE}")
_TARGET = re.compile(rf"(?:{_SHADOW}/)?{_TABLE_FILE}|{_MANIFEST}")
_DELETION = re.compile(rf"{_STAGED_FILE}|(?:{_SHADOW}/)?{_TABLE_FILE}")


class Journal(NamedTuple):
    """What a commit still has to do, in this order.

    Attributes:
      wave: inputs of the run before those of the commit, which identify the wave; or `REPLACING`.
      moves: of files, relative to the output; done first, and existing targets are replaced.
      deletions: files to delete, relative to the output.
    """

    wave: int
    moves: Sequence[Move]
    deletions: Sequence[str]


def staging_folders(output: str) -> list[str]:
    """List the folders in which runs have staged files; folders with similar names belong to the user."""
    return _ours(output, STAGING, _STAGING)


def shadow_folders(output: str) -> list[str]:
    """List the folders in which overwrites have collected rows; as `staging_folders`."""
    return _ours(output, SHADOW, _SHADOW)


def is_table_file(name: Any) -> bool:
    """Return whether this may be the name of a table's file, relative to the folder of the tables."""
    return isinstance(name, str) and bool(re.fullmatch(_TABLE_FILE, name))


def is_shadow(name: Any) -> bool:
    """Return whether a folder is named as one in which an overwrite collects rows."""
    return isinstance(name, str) and bool(re.fullmatch(_SHADOW, name))


def write_journal(staging: str, journal: Journal) -> None:
    """Write a journal, which decides the commit.

    Raises:
      OSError: it cannot be written.
    """
    described = {**journal._asdict(), "digest": _digest(journal)}
    storage.write(storage.join(staging, JOURNAL), json.dumps(described).encode())


def read_journal(staging: str) -> Journal | None:
    """Read the journal of a staging folder; None if it has none.

    Raises:
      OutputError: it is not a journal, is damaged, or names files that are none of the output's tables and manifests.
    """
    path = storage.join(staging, JOURNAL)
    try:
        journal = _check(json.loads(storage.read(path, _MOST_BYTES)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError, storage.FileTooLargeError):
        journal = None
    if journal is None:
        raise OutputError(f"{path} is not a valid journal of a commit", f"move {staging} out of the output")
    return journal


def _ours(output: str, beginning: str, pattern: str) -> list[str]:
    named = storage.list_folders(output, beginning)
    return [folder for folder in named if re.fullmatch(pattern, posixpath.basename(folder))]


def _check(described: Any) -> Journal | None:
    """Take a journal from what a file says, field by field; None if one of them is wrong."""
    wave, deletions = described["wave"], described["deletions"]
    moves = [Move(source, target) for source, target in described["moves"]]
    sound = (
        isinstance(wave, int)
        and isinstance(deletions, list)
        and all(_SOURCE.fullmatch(move.source) and _TARGET.fullmatch(move.target) for move in moves)
        and all(_DELETION.fullmatch(name) for name in deletions)
    )
    if not sound:
        return None
    journal = Journal(wave, moves, deletions)
    # A source whose name has changed would pass for one that was moved already. Earlier builds wrote no digest.
    return journal if described.get("digest", _digest(journal)) == _digest(journal) else None


def _digest(journal: Journal) -> str:
    return hashlib.sha256(json.dumps(journal).encode()).hexdigest()

"""What a wave has written: staged files, and what becomes of older rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.output.identities import Unlisted
from pipelines.output.run import Accounts


class Superseded(NamedTuple):
    """An older row, to be replaced by a newer one of the same image.

    Attributes:
      path: of the image.
      file: file with the row, relative to the folder of the tables, e.g. `failures/x.parquet`.
      gone: whether there is no such image any more, so that the row is deleted although none replaces it.
    """

    path: str
    file: str
    gone: bool = False


class StagedFile(NamedTuple):
    """A complete file, ready to be moved into place.

    Attributes:
      staged: where it is.
      table: the folder it belongs in, one of `TABLES`.
      accounts: counts of its rows.
      size: in bytes.
      superseded: the older rows that its rows replace, one for each; empty if its rows are all of new images.
      merged: other staged files, whose rows it holds.
    """

    staged: str
    table: str
    accounts: Accounts
    size: int = 0
    superseded: tuple[Superseded, ...] = ()
    merged: tuple[str, ...] = ()


class Written(NamedTuple):
    """The results of a wave.

    Attributes:
      files: its rows, in staged files.
      superseded: older rows without a newer one: of images that are not there any more.
      counted: accounts of everything except the rows of the files.
      found: in an overwrite, digests of the paths of images that have a row in its shadow folder.
      unlisted: in an overwrite by workers, the rows of its shadow folder whose images were not listed, in its place.
    """

    files: Sequence[StagedFile]
    superseded: Sequence[Superseded]
    counted: Accounts
    found: Iterable[bytes] = ()
    unlisted: Iterable[Unlisted] | None = None

"""Find stale rows: of windows that a scene no longer has, and of faults of archives that were repaired since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipelines.output.earlier import EarlierRows
from pipelines.output.run import Run
from pipelines.output.written import Superseded
from pipelines.records import ImageRef, Listed
from pipelines.scenes.grid import split_window


class ReadThrough(NamedTuple):
    """An archive that was read to its end without an error.

    Attributes:
      path: by which it is known in rows.
    """

    path: str


def read_through(run: Run, listed: Listed) -> ReadThrough | None:
    """Return the archive whose last member was listed; None for any other name."""
    if isinstance(listed, ImageRef) and listed.place and listed.place.completes:
        return ReadThrough(run.known_as(listed.place.archive))
    return None


def find_fault(earlier: EarlierRows, archive: ReadThrough) -> Iterator[Superseded]:
    """Find the row that says that an archive cannot be read to its end, unless this run has written it."""
    unread = earlier.find(archive.path, "")
    if unread and not unread.own:
        yield Superseded(archive.path, unread.file, gone=True)


def find_stale(earlier: EarlierRows, run: Run, listed: Listed) -> Iterator[Superseded]:
    """Find the rows of scenes and archives that no row of an image replaces.

    Args:
      earlier: the rows of earlier runs.
      run: of the job.
      listed: a window of the scene, of which only the first finds any; or what may have been a scene: an image, or one
        that cannot be cut; or the last member of an archive that could be read.
    """
    if archive := read_through(run, listed):
        yield from find_fault(earlier, archive)
    if run.grid:
        yield from _find_windows(earlier, run, listed)


def _find_windows(earlier: EarlierRows, run: Run, listed: Listed) -> Iterator[Superseded]:
    window = listed.window if isinstance(listed, ImageRef) else None
    if (window and (window.column or window.row)) or not listed.fingerprint:
        return
    scene = run.known_as(window.scene if window else listed.path)
    for path, file in earlier.windows_of_others(scene, listed.fingerprint):
        row = earlier.find(path, listed.fingerprint)
        if row and row.own:
            # An earlier wave of this run has counted it. The scene has changed since, and the next run looks at it.
            continue
        split = split_window(path)
        if not (window and split and run.grid.divides(split[1], window.columns, window.rows)):
            yield Superseded(path, file, gone=True)
    whole = earlier.find(scene, listed.fingerprint) if window else None
    if whole and not whole.own:
        # It was no scene, or it could not be cut.
        yield Superseded(scene, whole.file, gone=True)

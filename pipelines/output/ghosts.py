"""Find the rows of windows that a scene does not have any more: it was replaced by a smaller one or by none."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.output.commit import Superseded
from pipelines.output.earlier import EarlierRows
from pipelines.output.run import Run
from pipelines.records import ImageRef, Listed
from pipelines.scenes.grid import split_window


def find_ghosts(earlier: EarlierRows, run: Run, listed: Listed) -> Iterator[Superseded]:
    """Find the rows of a scene that no row of its current version takes the place of.

    Args:
      earlier: the rows of earlier runs.
      run: of the job.
      listed: a window of the scene, of which only the first finds any; or what may have been a scene: an image, or one
        that cannot be cut.
    """
    window = listed.window if isinstance(listed, ImageRef) else None
    if (window and (window.column or window.row)) or not listed.fingerprint:
        return
    scene = run.known_as(window.scene if window else listed.path)
    for path, file in earlier.windows_of_others(scene, listed.fingerprint):
        split = split_window(path)
        if not (window and split and run.grid.divides(split[1], window.columns, window.rows)):
            yield Superseded(path, file, gone=True)
    whole = earlier.find(scene, listed.fingerprint) if window else None
    if whole:
        # It was no scene, or it could not be cut.
        yield Superseded(scene, whole.file, gone=True)

"""Notice images that an output holds under another folder: after a mount by another name, all would be tagged again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from pipelines import storage
from pipelines.output.earlier import read_earlier
from pipelines.output.identities import read_images
from pipelines.output.run import PREDICTIONS, Run
from pipelines.records import ImageRef, Listed

SAMPLE = 10_000
"""Images of a listing that are looked for; more would take memory."""

_FILES, _ROWS_PER_FILE = 8, 20_000


class Moved(NamedTuple):
    """An image that seems to have moved.

    Attributes:
      path: where it is.
      earlier: path in its row.
    """

    path: str
    earlier: str


def find_moved(run: Run, sample: Sequence[Listed], listed: int) -> Moved | None:
    """Look for images of a listing among the rows of earlier runs, by the names of their files and their fingerprints.

    Only where no image of the sample has a row under its own path, and then only in a part of the output.

    Args:
      run: about to begin.
      sample: of the listing, evenly spread.
      listed: number of all images and failures listed.

    Returns:
      An example if most images have moved; otherwise None.
    """
    refs = [item for item in sample if isinstance(item, ImageRef)]
    earlier = read_earlier(run.folder, run.name)
    if not refs or not len(earlier) or any(earlier.find(run.known_as(ref.path), ref.fingerprint) for ref in refs):
        return None
    wanted = {(_file_name(ref.path), ref.fingerprint): ref.path for ref in refs}
    rows, found, example = 0, 0, None
    for file in _some(storage.list_files(storage.join(run.folder, PREDICTIONS), ".parquet")):
        for path, fingerprint in islice(read_images(file), _ROWS_PER_FILE):
            rows += 1
            if (_file_name(path), fingerprint) in wanted:
                found += 1
                example = example or Moved(wanted[_file_name(path), fingerprint], path)
    expected = min(len(wanted), rows * len(sample) / listed)
    return example if 2 * found >= expected else None


def _some(files: Sequence[str]) -> Sequence[str]:
    """Choose a few files, evenly spread."""
    return files[:: max(1, -(-len(files) // _FILES))]


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]

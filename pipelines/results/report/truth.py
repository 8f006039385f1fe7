"""Compare the rows of an output with labels, in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines import labels
from pipelines.output.footers import Footer
from pipelines.results.outputs import Output
from pipelines.results.report.tally import BINS, Rows, bins_of, count_bins

_PATH = pa.schema([("path", pa.string())])


class Told(NamedTuple):
    """What labels say of some rows.

    Attributes:
      tags: bool[L, N], the tags that a row should have; none for a row without labels.
      known: bool[N], which rows have labels.
      measured: bool[L], which labels they can have.
    """

    tags: NDArray[np.bool_]
    known: NDArray[np.bool_]
    measured: NDArray[np.bool_]


class Truth:
    """Label files, and how the rows so far compare with them.

    Attributes:
      file: their names.
      findings: problems found.
      unknown: labels in them that the model does not know.
      measured: bool[L], which labels of the model are in them; nothing is counted of the others.
      images: rows so far that have labels.
      known: int64[L, BINS + 1], rows with labels, by the bin of each tag's probability.
      positive: likewise, of the rows that should have the tag.
      tagged: int64[L], rows with labels that have the tag.
      hits: int64[L], those of them that should have it.
    """

    def __init__(
        self, file: str, matched: labels.LabelledImages, known_labels: Sequence[str], measured: NDArray[np.bool_]
    ) -> None:
        """Begin with no rows.

        Args:
          file: names of the label files.
          matched: their images among those of the output.
          known_labels: of the model.
          measured: bool[L], which of these are in the files.
        """
        count = len(known_labels)
        self.file = file
        self.findings: tuple[str, ...] = ()
        self.measured = measured
        self.unknown = tuple(tag for tag in labels.vocabulary(matched.tags) if tag not in known_labels)
        self.images = 0
        self.known, self.positive = (np.zeros((count, BINS + 1), np.int64) for _ in range(2))
        self.tagged, self.hits = (np.zeros(count, np.int64) for _ in range(2))
        self._places = {path: place for place, path in enumerate(matched.paths)}
        # One row more, for images without labels.
        self._tags = np.append(labels.multi_hot(matched.tags, known_labels) > 0, np.zeros((1, count), np.bool_), axis=0)

    def tell(self, rows: Rows) -> Told:
        """Return what the labels say of rows."""
        without = len(self._places)
        places = np.array([self._places.get(path, without) for path in rows.batch.column("path").to_pylist()], np.intp)
        return Told(self._tags[places].T, places < without, self.measured)

    def add(self, rows: Rows, told: Told) -> None:
        """Count further rows."""
        bins = bins_of(rows.probabilities)
        known = told.measured[:, np.newaxis] & told.known
        self.images += int(np.count_nonzero(told.known))
        self.known += count_bins(bins, known)
        self.positive += count_bins(bins, told.tags)
        self.tagged += np.count_nonzero(rows.tagged & known, axis=1)
        self.hits += np.count_nonzero(rows.tagged & told.tags, axis=1)


def read_truth(source: labels.LabelSource, output: Output, footer: Footer) -> Truth:
    """Read label files, and find their images among those of an output, as `scenetags evaluate` does.

    Args:
      source: of the labels.
      output: the output.
      footer: what its rows were made with.

    Raises:
      LabelError: a file cannot be used, no row names an image of the output, or no label is one of the model.
      NoOutputError: scenetags did not write the output.
      OutputError: a file of it is damaged.
    """
    # Those that failed, too: their rows are no mistakes of the label file.
    images = [*_tagged_images(output), *output.failed_images()]
    file = labels.read_labels(source, footer.labels, images)
    matched = labels.match(file.rows, images, output.path)
    unmeasured = labels.unmeasured(footer.labels, file)
    name = ", ".join(PurePath(path).name for path in source.paths)
    truth = Truth(name, matched, footer.labels, ~np.isin(footer.labels, unmeasured.names))
    findings = (*file.findings, *matched.findings, *([unmeasured] if unmeasured.names else []))
    truth.findings = tuple(map(str, findings))
    return truth


def _tagged_images(output: Output) -> Iterator[str]:
    for batch in output.pieces(_PATH):
        yield from (path or "" for path in batch.column("path").to_pylist())

"""Count all rows of an output in one pass, so that memory holds only a piece of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.inference.probabilities import are_probabilities
from pipelines.inference.reference import STRANGE
from pipelines.output.footers import Footer
from pipelines.output.schema import NOVELTY
from pipelines.output.tags import mark_tags
from pipelines.results.files import NoOutputError

BINS = 1000
"""Bins of a histogram; one more holds the probabilities that are exactly 1."""

EDGES: NDArray[np.float32] = (np.arange(BINS + 1) / BINS).astype(np.float32)
"""Lower edges of the bins, as float32 like the thresholds of tags: a row above one has the tag at that threshold."""

_NEXT_EDGES = np.append(EDGES[1:], np.float32(np.inf))

MOST_TOGETHER = 200
"""Labels up to which it is counted how often two tags occur together: with more, that would take most of the time."""


NOVELTY_BINS = 100
"""Bins of the histogram of novelty; the last one ends with 1."""


class Rows(NamedTuple):
    """Consecutive rows of predictions.

    Attributes:
      first: number of the first one, among all rows of the output.
      batch: their columns.
      probabilities: float32[L, N], 0 to 1.
      tagged: bool[L, N], which tags each row has.
      novelty: float32[N], 0 to 1, how strange each image is; NaN where a row does not say it.
    """

    first: int
    batch: pa.RecordBatch
    probabilities: NDArray[np.float32]
    tagged: NDArray[np.bool_]
    novelty: NDArray[np.float32]


def read_rows(path: str, batch: pa.RecordBatch, footer: Footer, first: int) -> Rows:
    """Take probabilities and tags out of a piece of the predictions.

    Args:
      path: of the output, for messages.
      batch: with the columns `path` and `tags`, those of the probabilities, and `novelty` where there is one.
      footer: what the rows were made with.
      first: number of the first row.

    Raises:
      NoOutputError: scenetags did not write them.
    """
    if batch.column("path").null_count:
        raise NoOutputError(f"{path} holds a row without a path, so scenetags did not write it")
    columns = [batch.column(footer.columns[label]).to_numpy(zero_copy_only=False) for label in footer.labels]
    probabilities = np.stack(columns).astype(np.float32, copy=False)
    if not are_probabilities(probabilities).all():
        raise NoOutputError(f"{path} holds a value that is not a probability, so scenetags did not write it")
    tags = batch.column("tags")
    if not pc.all(pc.is_in(tags.flatten(), pa.array(footer.labels, pa.string())), min_count=0).as_py():
        raise NoOutputError(f"{path} holds a tag that is not a label of its model, so scenetags did not write it")
    tagged = np.ascontiguousarray(mark_tags(tags, footer.labels).T)
    return Rows(first, batch, probabilities, tagged, _read_novelty(path, batch))


def _read_novelty(path: str, batch: pa.RecordBatch) -> NDArray[np.float32]:
    if NOVELTY.name not in batch.schema.names:
        return np.full(batch.num_rows, np.nan, np.float32)
    novelty: NDArray[np.float32] = batch.column(NOVELTY.name).to_numpy(zero_copy_only=False).astype(np.float32)
    if ((novelty < 0) | (novelty > 1)).any():
        raise NoOutputError(f"{path} holds a novelty that is not from 0 to 1, so scenetags did not write it")
    return novelty


class Tally:
    """Counts of the rows so far.

    Attributes:
      rows: number of predictions.
      untagged: rows without a tag.
      histograms: int64[L, BINS + 1], rows by the bin of each label's probability.
      reaching: int64[L], rows whose probability reaches the threshold.
      tagged: int64[L], rows that have the tag. Fewer than reach the threshold if a rule took it away.
      together: int64[L, L], rows that have both tags; empty for more labels than `MOST_TOGETHER`.
      repairs: rows by the repairs that their image needed.
      repaired: rows whose image needed any.
      sources: rows by format, samples and depth of their file.
      novelty: int64[NOVELTY_BINS], rows by the bin of their novelty, if they say it.
      strange: rows whose novelty is above `STRANGE`.
      runs: rows by the name of their run.
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        """Begin with no rows.

        Args:
          thresholds: of the tags.
        """
        count = len(thresholds)
        self._thresholds = np.asarray(thresholds, np.float32)[:, np.newaxis]
        self.rows = self.untagged = self.repaired = self.strange = 0
        self.novelty = np.zeros(NOVELTY_BINS, np.int64)
        self.histograms = np.zeros((count, BINS + 1), np.int64)
        self.reaching = np.zeros(count, np.int64)
        self.tagged = np.zeros(count, np.int64)
        self.together = np.zeros((count, count) if count <= MOST_TOGETHER else (0, 0), np.int64)
        self.repairs: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()

    def add(self, rows: Rows) -> None:
        """Count further rows."""
        self.rows += rows.batch.num_rows
        self.histograms += count_bins(bins_of(rows.probabilities))
        self.reaching += np.count_nonzero(rows.probabilities >= self._thresholds, axis=1)
        self.tagged += np.count_nonzero(rows.tagged, axis=1)
        self.untagged += int(np.count_nonzero(~rows.tagged.any(axis=0)))
        if self.together.size:
            self.together += _counted_together(rows.tagged)
        repairs = rows.batch.column("repairs")
        self.repaired += pc.sum(pc.greater(pc.list_value_length(repairs), 0)).as_py() or 0
        self.repairs.update(_counted(repairs.flatten()))
        self.sources.update(_counted(rows.batch.column("source")))
        self.runs.update(_counted(rows.batch.column("run")))
        known = rows.novelty[~np.isnan(rows.novelty)]
        self.novelty += np.histogram(known, NOVELTY_BINS, (0, 1))[0]
        self.strange += int(np.count_nonzero(known > STRANGE))


def bins_of(probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """Find the bin of each probability.

    Args:
      probabilities: float32[L, N], 0 to 1.

    Returns:
      intp[L, N], 0 to `BINS`.
    """
    bins = np.minimum((probabilities * np.float32(BINS)).astype(np.intp), BINS)
    # The product is rounded, and may be on the other side of an edge.
    bins -= probabilities < EDGES[bins]
    bins += probabilities >= _NEXT_EDGES[bins]
    return bins


def count_bins(bins: NDArray[np.intp], wanted: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Count rows by bin.

    Args:
      bins: intp[L, N].
      wanted: bool[L, N], which rows count for each label; None for all.

    Returns:
      int64[L, BINS + 1].
    """
    counted = [
        np.bincount(of_label if wanted is None else of_label[wanted[label]], minlength=BINS + 1)
        for label, of_label in enumerate(bins)
    ]
    return np.array(counted, np.int64).reshape(len(bins), BINS + 1)


def _counted_together(tagged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the rows that have both of two tags: by bits, since a product of matrices would occupy all cores."""
    bits = np.packbits(tagged, axis=1)
    return np.array([np.bitwise_count(of_label & bits).sum(axis=1, dtype=np.int64) for of_label in bits])


def _counted(values: pa.Array) -> Counter[str]:
    counts = pc.value_counts(values.drop_null())
    return Counter(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))

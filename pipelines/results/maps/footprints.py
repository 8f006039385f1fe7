"""Read the windows of an output: where they lie, and how probable some tags are in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.inference.probabilities import are_probabilities
from pipelines.output.footers import Footer
from pipelines.output.schema import NOVELTY
from pipelines.results.files import NoOutputError
from pipelines.results.labels import check_label
from pipelines.results.maps.outlines import Outlines, read_outlines
from pipelines.results.outputs import Output
from pipelines.results.windows import lacks_windows

_OF_SCENES = pa.schema(
    [
        ("scene", pa.string()),
        ("col_off", pa.int32()),
        ("row_off", pa.int32()),
        # As text: years that Python's datetime does not know are no reason to fail.
        ("datetime", pa.string()),
        ("geometry", pa.binary()),
    ]
)
"""Columns that only files with windows of scenes have."""

_OF_ALL = pa.schema([("path", pa.string()), ("width", pa.int32()), ("height", pa.int32())])


class Counts(NamedTuple):
    """What became of rows.

    Attributes:
      shown: windows that say where they lie.
      below: windows in which no tag is probable enough to be shown.
      unplaced: windows of scenes that do not say where they lie.
      images: rows of images that are not windows of scenes.
    """

    shown: int = 0
    below: int = 0
    unplaced: int = 0
    images: int = 0

    def __add__(self, other: object) -> Counts:
        """Add the counts of other rows."""
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(*(one + more for one, more in zip(self, other, strict=True)))


class Footprints(NamedTuple):
    """Windows of an output.

    Attributes:
      rows: one per window: path, width, height, scene, col_off, row_off and datetime, and novelty if it is wanted.
      outlines: where they lie.
      probabilities: float32[N, T], of the tags that were asked for.
      counts: of the rows that were read for these.
    """

    rows: pa.RecordBatch
    outlines: Outlines
    probabilities: NDArray[np.float32]
    counts: Counts


def spell_time(text: str | None) -> str | None:
    """Spell a time that Arrow has cast to text as RFC 3339 does; None remains None."""
    if text is None:
        return None
    date, _, time = text.removesuffix("Z").partition(" ")
    whole, _, fraction = time.partition(".")
    fraction = fraction.rstrip("0")
    return f"{date}T{whole}{'.' if fraction else ''}{fraction}Z"


def choose_tags(footer: Footer, names: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of these names, each once; all of the model if no name is given.

    Raises:
      UnknownLabelError: the model does not know one.
    """
    for name in names:
        check_label(name, footer.labels, "--tag")
    return tuple(dict.fromkeys(names)) or footer.labels


def read_footprints(
    output: Output, footer: Footer, tags: Sequence[str], min_probability: float = 0.0, novelty: bool = False
) -> Iterator[Footprints]:
    """Read the windows of an output piece by piece, so that memory holds only one.

    Args:
      output: the output.
      footer: what its rows were made with.
      tags: whose probabilities are wanted.
      min_probability: windows in which no tag reaches it are only counted.
      novelty: whether it is wanted how strange windows are; the output must say it.

    Raises:
      NoOutputError: no window says where it lies, or the files are not as scenetags writes them.
      OutputError: a file is damaged.
    """
    columns = [footer.columns[tag] for tag in tags]
    rows = pa.schema([*_OF_ALL, *_OF_SCENES, *[(NOVELTY.name, pa.float32())] * novelty])
    fields = pa.schema([*rows, *((column, pa.float32()) for column in columns)])
    total = Counts()
    for batch in output.pieces(fields, missing=[*_OF_SCENES.names, NOVELTY.name], made_with=footer):
        footprints = _of_batch(output.path, batch, columns, min_probability)
        total += footprints.counts
        yield footprints
    if not total.shown and not total.below:
        raise lacks_windows(output, unplaced=bool(total.unplaced))


def _of_batch(path: str, batch: pa.RecordBatch, columns: Sequence[str], min_probability: float) -> Footprints:
    placed = batch.column("geometry").is_valid()
    windows = pc.or_(placed, batch.column("scene").is_valid())
    all_windows = pc.sum(windows).as_py() or 0
    images, batch = batch.num_rows - all_windows, batch.filter(placed)
    unplaced, found = all_windows - batch.num_rows, batch.num_rows
    probabilities = np.column_stack([batch.column(column).to_numpy(zero_copy_only=False) for column in columns])
    if not are_probabilities(probabilities).all():
        raise NoOutputError(f"{path} holds a value that is not a probability, so scenetags did not write it")
    # As float32, like the thresholds of tags.
    likely = np.any(probabilities >= np.float32(min_probability), axis=1)
    batch, probabilities = batch.filter(pa.array(likely)), probabilities[likely]
    counts = Counts(batch.num_rows, found - batch.num_rows, unplaced, images)
    try:
        outlines = read_outlines(batch.column("geometry").to_pylist())
    except ValueError as error:
        raise NoOutputError(f"{path} holds a geometry that scenetags did not write: {error}") from error
    rows = batch.select([name for name in batch.schema.names if name not in ("geometry", *columns)])
    return Footprints(rows, outlines, probabilities, counts)

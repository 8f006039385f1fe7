"""Find the images that look most like one, by the angles between embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.output.schema import EMBEDDING
from pipelines.results.files import NoOutputError
from pipelines.results.outputs import Output
from pipelines.results.selecting.ranking import score


def find_embedding(output: Output, columns: pa.Schema, spellings: Iterable[str]) -> tuple[str, NDArray[np.float32]]:
    """Find the embedding of an image of an output.

    Args:
      output: the output.
      columns: of its predictions.
      spellings: of the image's path, in the order in which they are looked for.

    Returns:
      The path in its row, and float32[F].

    Raises:
      NoOutputError: the output has no embeddings, or not this image.
      OutputError: a file is damaged.
    """
    if EMBEDDING.name not in columns.names:
        raise NoOutputError(f"{output.path} has no embeddings", "run predict with --embeddings")
    wanted = list(spellings)
    found: dict[str, NDArray[np.float32]] = {}
    for batch in output.pieces(pa.schema([columns.field(name) for name in ("path", EMBEDDING.name)])):
        paths = batch.column("path").to_pylist()
        for place in (place for place, path in enumerate(paths) if path in wanted):
            found[paths[place]] = embeddings_of(batch.slice(place, 1))[0]
        if wanted[0] in found:
            break
    path = next((path for path in wanted if path in found), None)
    if path is None:
        raise NoOutputError(f"{output.path} has no tagged image {wanted[0]}", "give the path of one that it has")
    return path, found[path]


def score_likeness(batches: Iterable[pa.RecordBatch], embedding: NDArray[np.float32]) -> Iterator[pa.Table]:
    """Score rows by how much their images look like one.

    Args:
      batches: paths and embeddings.
      embedding: of the image.

    Yields:
      The cosines of the angles between the embeddings, -1 to 1.
    """
    for batch in batches:
        others = embeddings_of(batch)
        lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(embedding)
        # An image without any feature is like no other.
        cosines = (others @ embedding) / np.where(lengths, lengths, np.inf)
        yield score(batch.column("path"), pa.array(cosines, pa.float32()))


def embeddings_of(batch: pa.RecordBatch) -> NDArray[np.float32]:
    """Return the embeddings of rows: float32[N, F]."""
    column = batch.column(EMBEDDING.name)
    values: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return values.reshape(len(column), -1) if len(column) else np.empty((0, column.type.list_size), np.float32)

"""What flows through the pipeline, and the Arrow tables in which it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.bundle import Bundle
from pipelines.images import Pixels


class Span(NamedTuple):
    """Where in an archive a member lies.

    Attributes:
      archive: path of the archive.
      start: byte at which it begins; of a compressed tar, in what it is uncompressed.
      length: bytes that it takes there.
      packing: how it lies there; see `archives`.
      checksum: CRC-32 of its content, where the archive has one.
    """

    archive: str
    start: int
    length: int
    packing: str
    checksum: int = 0


class ImageRef(NamedTuple):
    """An image that is known by name only.

    Attributes:
      path: where its bytes are.
      size: in bytes.
      fingerprint: changes when the bytes do; made from what a listing tells, without reading them.
    """

    path: str
    size: int
    fingerprint: str
    span: Span | None = None


class Image(NamedTuple):
    """A decoded image, resized for the model.

    Attributes:
      ref: the image's file.
      width: columns of the decoded image, before resizing.
      height: rows of the decoded image, before resizing.
      source: format, samples a pixel and bits a sample of the file.
      repairs: what was done to get true colours, in the order applied.
      pixels: uint8[S, S, 3], sRGB, 0 to 255.
    """

    ref: ImageRef
    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    pixels: Pixels


class Prediction(NamedTuple):
    """What the model says about an image; like `Image`, with the probabilities in place of the pixels.

    Attributes:
      probabilities: float32[L], 0 to 1, in the order of the bundle's labels.
    """

    ref: ImageRef
    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    probabilities: NDArray[np.float32]


class Failure(NamedTuple):
    """An input that could not be tagged.

    Attributes:
      path: of the input.
      stage: where it failed: `list`, `read`, `decode` or `predict`.
      error: the kind of error, a Python exception's name.
      message: the reason, for people.
      fingerprint: of the image; empty where listing failed.
    """

    path: str
    stage: str
    error: str
    message: str
    fingerprint: str


Listed = ImageRef | Failure
"""What a listing yields: an image, or a name that cannot be one."""


def not_listed(path: str, error: Exception, fingerprint: str = "", message: str = "") -> Failure:
    """Say why a name cannot be an image.

    Args:
      path: that was named.
      error: whose kind and message are told.
      fingerprint: of what is known of the file.
      message: in place of the error's own.
    """
    reason = message or (error.strerror if isinstance(error, OSError) else None) or str(error)
    # Names that are not UTF-8 cannot be written as they are.
    name = path.encode("utf-8", "backslashreplace").decode()
    return Failure(name, "list", type(error).__name__, reason, fingerprint)


# Parquet names what is in a list "element", and a type of another name would not equal itself once it was read back.
_NAMES = pa.list_(pa.field("element", pa.string()))


def prediction_schema(bundle: Bundle, thresholds: Sequence[float]) -> pa.Schema:
    """Describe the columns of `predictions/`, one probability column a label."""
    return pa.schema(
        [
            ("path", pa.string()),
            ("tags", _NAMES),
            *((f"p_{label}", pa.float32()) for label in bundle.labels),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("source", pa.string()),
            ("repairs", _NAMES),
            ("fingerprint", pa.string()),
            ("model", pa.string()),
            ("run", pa.string()),
        ],
        metadata=_footer(bundle, thresholds),
    )


def failure_schema(bundle: Bundle, thresholds: Sequence[float]) -> pa.Schema:
    """Describe the columns of `failures/`."""
    names = ("path", "stage", "error", "message", "fingerprint", "model", "run")
    return pa.schema([(name, pa.string()) for name in names], metadata=_footer(bundle, thresholds))


def prediction_table(
    predictions: Sequence[Prediction], schema: pa.Schema, tags: Sequence[tuple[str, ...]], model: str, run: str
) -> pa.Table:
    """Lay predictions out in columns.

    Args:
      predictions: the rows.
      schema: made by `prediction_schema`.
      tags: of each row; see `tagging.choose_tags`.
      model: the bundle's digest.
      run: the run's name.
    """
    probabilities = np.stack([prediction.probabilities for prediction in predictions], axis=1)
    columns = [
        pa.array([prediction.ref.path for prediction in predictions]),
        pa.array(tags, _NAMES),
        *(pa.array(column, pa.float32()) for column in probabilities),
        pa.array([prediction.width for prediction in predictions], pa.int32()),
        pa.array([prediction.height for prediction in predictions], pa.int32()),
        pa.array([prediction.source for prediction in predictions]),
        pa.array([prediction.repairs for prediction in predictions], _NAMES),
        pa.array([prediction.ref.fingerprint for prediction in predictions]),
        pa.repeat(model, len(predictions)),
        pa.repeat(run, len(predictions)),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def failure_table(failures: Sequence[Failure], schema: pa.Schema, model: str, run: str) -> pa.Table:
    """Lay failures out in columns; the arguments are as in `prediction_table`."""
    columns = [pa.array(column, pa.string()) for column in zip(*failures, strict=True)]
    return pa.Table.from_arrays(
        [*columns, pa.repeat(model, len(failures)), pa.repeat(run, len(failures))], schema=schema
    )


def _footer(bundle: Bundle, thresholds: Sequence[float]) -> dict[str, str]:
    """Make the footer metadata that tells, without any row, which model a file is of."""
    described = {
        "version": version("scenetags"),
        "bundle": bundle.digest,
        "labels": list(bundle.labels),
        "thresholds": list(thresholds),
    }
    return {"scenetags": json.dumps(described)}

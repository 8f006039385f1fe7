"""Input and output of every peer."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.bare import share
from pipelines.images import DecodeSettings, Pixels, decode_resized
from pipelines.inference import PRECISIONS
from pipelines.inference.bundle import LITERT_MODEL, SAVED_MODEL, load_bundle
from pipelines.inference.engines import open_engine
from pipelines.inference.litert_engine import LiteRTEngine
from pipelines.output.footers import probability_columns

Predict = Callable[[Pixels], NDArray[np.float32]]
"""Computes probabilities, float32[N, L], from pixels, uint8[N, S, S, 3]."""


class Job(NamedTuple):
    """Arguments of a peer.

    Attributes:
      paths: of the images.
      bundle: path of the bundle.
      output: an existing, empty folder, for Parquet files with the columns of `Model.columns`.
      precision: of a peer with OpenVINO.
    """

    paths: list[str]
    bundle: str
    output: str
    precision: str


class Model(NamedTuple):
    """The parts of a bundle that a peer needs; small, because frameworks pickle it with the functions that use it.

    Attributes:
      labels: in the order of the model's outputs.
      decoding: input size and resizing of the model.
      bundle: its path.
      litert: path of the LiteRT file.
      saved_model: path of the SavedModel.
    """

    labels: tuple[str, ...]
    decoding: DecodeSettings
    bundle: str
    litert: str
    saved_model: str

    def open_litert(self, threads: int) -> Predict:
        """Open our engine with `threads` single-threaded interpreters; threads may share it."""
        return share(LiteRTEngine(Path(self.litert).read_bytes(), threads), threads)

    def open_openvino(self, threads: int, precision: str) -> Predict:
        """Open our OpenVINO engine with `threads` compiled models; threads may share it."""
        return share(open_engine(load_bundle(self.bundle), "openvino", threads, precision=precision), threads)

    def open_saved_model(self, threads: int = 0) -> Predict:
        """Load the SavedModel with TensorFlow, as its guide shows.

        Args:
          threads: cores that an operation may use; by default all.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        loaded = tf.saved_model.load(self.saved_model)

        def predict(pixels: Pixels) -> NDArray[np.float32]:
            # Referring to the model keeps it alive; its signature does not.
            [probabilities] = loaded.signatures["serve"](tf.constant(pixels)).values()
            array: NDArray[np.float32] = probabilities.numpy()
            return array

        return predict

    def decode(self, data: bytes) -> Pixels:
        """Decode an image file: uint8[S, S, 3]."""
        return decode_resized(data, self.decoding).pixels

    def decode_batch(self, files: Sequence[bytes]) -> Pixels:
        """Decode image files: uint8[N, S, S, 3]."""
        return np.stack([self.decode(data) for data in files])

    def columns(self, probabilities: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return probabilities, float32[N, L], by output column."""
        return dict(zip(probability_columns(self.labels).values(), probabilities.T, strict=True))


def parse_job() -> Job:
    """Parse a peer's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True, help="a folder, or a file with one path per line")
    parser.add_argument("--model", required=True, help="a bundle")
    parser.add_argument("--output", required=True, help="a folder for Parquet files")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of a peer with OpenVINO")
    options = parser.parse_args()
    if options.images.is_dir():
        paths = sorted(str(path.resolve()) for path in options.images.iterdir())
    else:
        paths = options.images.read_text().splitlines()
    return Job(paths, options.model, options.output, options.precision)


def load_model(path: str) -> Model:
    """Load the parts of a local bundle that a peer needs."""
    bundle = load_bundle(path)
    decoding = DecodeSettings(bundle.image_size, bundle.resize_filter)
    return Model(bundle.labels, decoding, path, str(Path(path, LITERT_MODEL)), str(Path(path, SAVED_MODEL)))


def write_rows(job: Job, model: Model, probabilities: NDArray[np.float32]) -> None:
    """Write one file with the rows of all images; probabilities are float32[N, L], in the order of the job's paths."""
    table = pa.table({"path": job.paths, **model.columns(probabilities)})
    pq.write_table(table, Path(job.output, "rows.parquet"))

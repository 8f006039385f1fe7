"""Beam's `ModelHandler` over an engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

from pipelines import storage
from pipelines.bundle import BundleError, load_bundle
from pipelines.engines import open_engine
from pipelines.records import Failure, Image, Prediction
from pipelines.tagging import Predictor


@dataclass
class BundleHandler(ModelHandler[Image, Prediction | Failure, Predictor]):
    """Predict the probabilities of decoded images with a bundle's model.

    Attributes:
      path: the bundle's folder.
      digest: of the bundle that the job was started with; a worker refuses any other.
      engine: one of `engines.ENGINES`.
      batch_size: images given to the engine together.
      access: how buckets are reached.
    """

    path: str
    digest: str
    engine: str = "auto"
    batch_size: int = 32
    access: storage.Access = field(default_factory=storage.Access)

    def __post_init__(self) -> None:
        super().__init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")

    def load_model(self) -> Predictor:
        """Open the engine, or take the one that this process has open."""
        storage.use(self.access)
        return load_predictor(self.path, self.digest, self.engine)

    def run_inference(
        self, batch: Sequence[Image], model: Predictor, inference_args: dict[str, Any] | None = None
    ) -> Iterator[Prediction | Failure]:
        """Predict a batch; what comes out holds no pixels any more."""
        return model.predict(batch)

    def get_num_bytes(self, batch: Sequence[Image]) -> int:
        """Count the bytes of a batch; Beam's own way would pickle it."""
        return sum(image.pixels.nbytes for image in batch)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Ask for batches of one size: growing ones, Beam's default, gain nothing for an engine of known speed."""
        return {"min_batch_size": self.batch_size, "max_batch_size": self.batch_size}

    def get_metrics_namespace(self) -> str:
        """Name the group in which Beam lists its metrics of the inference."""
        return "scenetags"


@lru_cache(maxsize=1)
def load_predictor(path: str, digest: str, engine: str) -> Predictor:
    """Load a bundle's engine, once in a process: the waves of a local run share it, and what it has learned.

    Raises:
      BundleError: the bundle is damaged, refused by the engine, or another one than `digest` names.
    """
    bundle = load_bundle(path)
    if bundle.digest != digest:
        raise BundleError(f"bundle {path} was replaced after the job was started")
    return Predictor(open_engine(bundle, engine))

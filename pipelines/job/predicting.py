"""How a process reads images and runs the model on them: a worker, or a child of a local run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines import storage
from pipelines.images import DecodeSettings, ignore_metadata_warnings
from pipelines.images.limits import Limits
from pipelines.inference.ahead import Model
from pipelines.reading import READS_IN_FLIGHT
from pipelines.reading.batches import predicting
from pipelines.reading.queues import Queue
from pipelines.reading.source import ImageSource
from pipelines.records import Prediction
from pipelines.scenes.grid import NO_GRID, Grid
from pipelines.supervision.budget import process_budget
from pipelines.supervision.machine import available_cores

if TYPE_CHECKING:
    # Its tables are Arrow's, which a child has no use for.
    from pipelines.output.run import Run


@dataclass(frozen=True)
class PredictSettings:
    """What a process needs to know to read images and run the model on them.

    Attributes:
      model: of the bundle.
      decoding: what it takes.
      limits: per-image limits.
      reads_in_flight: images fetched concurrently. At most twice as many wait to be decoded, which bounds the memory.
      access: how buckets are reached.
      grid: of the windows of scenes.
    """

    model: Model
    decoding: DecodeSettings
    limits: Limits = field(default_factory=Limits)
    reads_in_flight: int = READS_IN_FLIGHT
    access: storage.Access = field(default_factory=storage.Access)
    grid: Grid = NO_GRID

    def __post_init__(self) -> None:
        if self.reads_in_flight < 1:
            raise ValueError(f"reads_in_flight must be at least 1, not {self.reads_in_flight}")

    @classmethod
    def of_run(cls, run: Run, model: Model, limits: Limits, reads_in_flight: int) -> PredictSettings:
        """Return the settings of a run's processes."""
        bundle = run.bundle
        decoding = DecodeSettings(bundle.image_size, bundle.resize_filter, limits.max_pixels, run.rendering)
        return cls(model, decoding, limits, reads_in_flight, run.access, run.grid)

    def start(self, processes: int = 1) -> Queue[Prediction]:
        """Start to work in this process, which shares the memory for images with others if there are several.

        Raises:
          BundleError: the bundle is damaged, refused by the engine, or was replaced.
        """
        storage.use(self.access)
        # Warnings silenced in the launching process are not silenced in another one.
        ignore_metadata_warnings()
        predictor = self.model.load()
        threads = self.model.threads or available_cores()
        source = ImageSource(self.decoding, self.limits, threads, process_budget(threads, processes), self.grid)
        return predicting(source, self.reads_in_flight, predictor, self.model.batch_size)

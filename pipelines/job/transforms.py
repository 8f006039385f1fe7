"""The transforms of the pipeline, each a thin layer over plain functions of other modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter, PCollection

from pipelines import storage
from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.inference.ahead import Model
from pipelines.job.steps import images
from pipelines.job.steps.names import Cut, KeyByStream, LeaveOutTagged, ListNames, PutInOrder
from pipelines.job.steps.outputs import COUNTED, EMPTY, FAILED, FOUND, POSTPONED, SUPERSEDED
from pipelines.job.steps.rows import CloseWave, WriteTable
from pipelines.listing import PATH_COLUMN
from pipelines.listing.scenes import CutSettings
from pipelines.output.commit import StagedFile, Superseded
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.writing import EmptyTable, FailureTable, PredictionTable
from pipelines.reading import READS_IN_FLIGHT
from pipelines.records import Empty, Failure, ImageRef, KeptColumn, Listed, Prediction
from pipelines.scenes.documents import NO_DOCUMENTS, Documents
from pipelines.scenes.grid import NO_GRID, Grid


@dataclass
class ListImages(beam.PTransform):
    """List the images that the inputs name, each once.

    A single worker lists them all: duplicates are found only where all names meet, and listing is cheap compared with
    the model. Outputs: `listed`, and `counted`, accounts of what was passed over.

    Attributes:
      inputs: folders, patterns or files.
      input_list: a file of paths.
      access: how buckets are reached.
      path_column: of the list, that holds the paths.
      kept: columns of the list whose values are kept.
      allow_empty: whether there may be no image at all.
      documents: that may name files.
    """

    inputs: Sequence[str]
    input_list: str | None = None
    access: storage.Access = field(default_factory=storage.Access)
    path_column: str = PATH_COLUMN
    kept: Sequence[KeptColumn] = ()
    allow_empty: bool = False
    documents: Documents = NO_DOCUMENTS

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Apply the transform."""
        of_list = self.input_list, self.access, self.path_column, self.kept
        names = beam.ParDo(ListNames(self.inputs, *of_list, self.allow_empty, self.documents))
        typed = names.with_output_types(Listed, **{COUNTED: Accounts})
        return begin | "Once" >> beam.Impulse() | "List" >> typed.with_outputs(COUNTED, main="listed")


@dataclass
class CutScenes(beam.PTransform):
    """Replace scenes by their windows, each an image of its own.

    Attributes:
      cutting: how scenes are cut.
      access: how buckets are reached.
    """

    cutting: CutSettings
    access: storage.Access = field(default_factory=storage.Access)

    def expand(self, listed: PCollection[Listed]) -> PCollection[Listed]:
        """Apply the transform."""
        return listed | "Cut" >> beam.ParDo(Cut(self.cutting, self.access)).with_output_types(Listed)


@dataclass
class SkipTagged(beam.PTransform):
    """Leave out images that an earlier run has tagged, and names that cannot be images.

    An image is identified by its path and fingerprint. Outputs: the images to read; `failed`, the names that cannot be
    images; `superseded`, the earlier rows that the new ones replace; `counted`, accounts of what came in and what was
    left out as already tagged; and `found`, in an overwrite, the digests of the paths of images that have earlier rows.

    Attributes:
      run: of the job.
    """

    run: Run

    def expand(self, listed: PCollection[Listed]) -> Any:
        """Apply the transform."""
        kinds = {FAILED: Failure, SUPERSEDED: Superseded, COUNTED: Accounts, FOUND: bytes}
        skip = beam.ParDo(LeaveOutTagged(self.run)).with_output_types(ImageRef, **kinds)
        return listed | "Skip" >> skip.with_outputs(*kinds, main="refs")


@dataclass
class SpreadReads(beam.PTransform):
    """Spread images over all workers, but send those that are read at once to one worker, in their order.

    These are the members of a compressed archive, and the windows of a part of a scene.
    """

    def expand(self, refs: PCollection[ImageRef]) -> PCollection[ImageRef]:
        """Apply the transform."""
        # One shuffle for all: Flink's translation of Beam refuses two whose outputs are merged again.
        key = beam.ParDo(KeyByStream()).with_output_types(tuple[str, ImageRef])
        in_order = beam.ParDo(PutInOrder()).with_output_types(ImageRef)
        return refs | "KeyByStream" >> key | beam.GroupByKey() | "InOrder" >> in_order


@dataclass
class PredictImages(beam.PTransform):
    """Fetch, decode, repair and resize images and run the model on them, ahead of the step that consumes the results.

    Threads work ahead while the following, fused steps do, and pixels never cross between steps. Outputs: predictions,
    `failed`, `empty`, windows of which too little holds data, and `postponed`, numbers of images that were not read
    because the run was asked to stop.

    Attributes:
      model: of the bundle.
      image_size: columns and rows that it takes.
      resize_filter: one of `images.limits.RESIZINGS`.
      limits: per-image limits.
      reads_in_flight: images fetched concurrently. At most twice as many wait to be decoded, which bounds the memory.
      threads: images decoded concurrently; by default one per core of the worker.
      run: name of the run, to report failures to.
      access: how buckets are reached.
      rendering: how rasters become pictures.
      grid: of the windows of scenes.
    """

    model: Model
    image_size: int
    resize_filter: str
    limits: Limits = field(default_factory=Limits)
    reads_in_flight: int = READS_IN_FLIGHT
    threads: int | None = None
    run: str = ""
    access: storage.Access = field(default_factory=storage.Access)
    rendering: Rendering = NO_RENDERING
    grid: Grid = NO_GRID

    def __post_init__(self) -> None:
        if self.reads_in_flight < 1 or (self.threads is not None and self.threads < 1):
            raise ValueError(f"reads_in_flight {self.reads_in_flight} and threads {self.threads} must be at least 1")

    def expand(self, refs: PCollection[ImageRef]) -> Any:
        """Apply the transform."""
        decoding = DecodeSettings(self.image_size, self.resize_filter, self.limits.max_pixels, self.rendering)
        settings = decoding, self.limits, self.threads, self.reads_in_flight
        step = images.PredictImages(*settings, self.model, self.run, self.access, self.grid)
        kinds = {FAILED: Failure, EMPTY: Empty, POSTPONED: int}
        predict = beam.ParDo(step).with_output_types(Prediction, **kinds)
        return refs | "Predict" >> predict.with_outputs(*kinds, main="predictions")


@dataclass
class WritePredictions(beam.PTransform):
    """Write predictions to staged Parquet files; with `often`, finish these before a bundle ends."""

    run: Run
    often: bool = False

    def expand(self, predictions: PCollection[Prediction]) -> PCollection[StagedFile]:
        """Apply the transform."""
        write = beam.ParDo(WriteTable(PredictionTable(), self.run, self.often))
        return predictions | "Write" >> write.with_output_types(StagedFile)


@dataclass
class WriteFailures(beam.PTransform):
    """Write failures to staged Parquet files; as `WritePredictions`."""

    run: Run
    often: bool = False

    def expand(self, failures: PCollection[Failure]) -> PCollection[StagedFile]:
        """Apply the transform."""
        write = beam.ParDo(WriteTable(FailureTable(), self.run, self.often))
        return failures | "Write" >> write.with_output_types(StagedFile)


@dataclass
class WriteEmpty(beam.PTransform):
    """Write the names of empty windows to staged Parquet files; as `WritePredictions`."""

    run: Run
    often: bool = False

    def expand(self, empty: PCollection[Empty]) -> PCollection[StagedFile]:
        """Apply the transform."""
        write = beam.ParDo(WriteTable(EmptyTable(), self.run, self.often))
        return empty | "Write" >> write.with_output_types(StagedFile)


@dataclass
class WriteManifest(beam.PTransform):
    """Move all staged files into place, balance the accounts and write the manifest, after everything else.

    Attributes:
      run: of the job.
      wave: the part of the run to commit.
      counted: accounts of what was listed and what was left out.
      superseded: earlier rows that the new ones replace.
      found: digests of the paths of images that have earlier rows.
      postponed: numbers of images that the wave leaves to a later one.
    """

    run: Run
    wave: Wave
    counted: PCollection[Accounts]
    superseded: PCollection[Superseded]
    found: PCollection[bytes]
    postponed: PCollection[int]

    def expand(self, files: PCollection[StagedFile]) -> PCollection[Accounts]:
        """Apply the transform."""
        close = beam.ParDo(
            CloseWave(self.run, self.wave),
            # Side inputs are complete before the step begins, so no file moves while another may still be written.
            files=AsIter(files),
            counted=AsIter(self.counted),
            superseded=AsIter(self.superseded),
            found=AsIter(self.found),
            postponed=AsIter(self.postponed),
        )
        return files.pipeline | "Once" >> beam.Impulse() | "Commit" >> close.with_output_types(Accounts)

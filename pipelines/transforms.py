"""The steps of the pipeline, each a thin transform over plain functions of other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter, PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipelines import interruption, progress, storage
from pipelines.archives import is_streamed
from pipelines.commit import StagedFile, Superseded, commit
from pipelines.decoding import DecodeSettings
from pipelines.earlier import read_earlier
from pipelines.engines import available_cores
from pipelines.inference import InferenceAhead, Model
from pipelines.ledger import Accounts, Run
from pipelines.listing import list_images
from pipelines.look_ahead import LookAhead
from pipelines.output import check_still_held
from pipelines.reading import Limits
from pipelines.records import Failure, Image, ImageRef, Listed, Prediction
from pipelines.writing import FailureRows, PredictionRows, Rows, TableWriter

FAILED, SUPERSEDED, COUNTED = "failed", "superseded", "counted"


@dataclass
class ListImages(beam.PTransform):
    """List the images that inputs name, each once.

    One worker lists them all: the names must pass one place to be told apart, and listing is cheap beside the model.

    Attributes:
      inputs: folders, patterns or files.
      input_list: a file of paths.
      access: how buckets are reached.
    """

    inputs: Sequence[str]
    input_list: str | None = None
    access: storage.Access = field(default_factory=storage.Access)

    def expand(self, begin: beam.pvalue.PBegin) -> PCollection[Listed]:
        """Apply the transform."""
        return begin | "Inputs" >> beam.Create([self]) | "List" >> beam.FlatMap(_list_images)


@dataclass
class SkipTagged(beam.PTransform):
    """Leave out the images that an earlier run has tagged, and the names that cannot be images.

    An image is known by its path and fingerprint. Outputs: the images that remain to be read; of the names that cannot
    be images, `failed`; `superseded`, the earlier rows that go when the new ones come; and `counted`, accounts of what
    came in and of what was left out as tagged.

    Attributes:
      run: of the job.
    """

    run: Run

    def expand(self, listed: PCollection[Listed]) -> Any:
        """Apply the transform."""
        outputs = (FAILED, SUPERSEDED, COUNTED)
        return listed | "Skip" >> beam.ParDo(_SkipTagged(self.run)).with_outputs(*outputs, main="refs")


@dataclass
class SpreadReads(beam.PTransform):
    """Spread images over all workers, but those of one compressed archive to one, in their order."""

    def expand(self, refs: PCollection[ImageRef]) -> PCollection[ImageRef]:
        """Apply the transform."""
        alone, streamed = refs | "Split" >> beam.Partition(lambda ref, _: int(is_streamed(ref)), 2)
        return (
            alone | beam.Reshuffle(),
            streamed
            | "KeyByArchive" >> beam.Map(lambda ref: (ref.span.archive, ref))
            | beam.GroupByKey()
            | "InOrder" >> beam.FlatMapTuple(lambda _, members: sorted(members, key=lambda ref: ref.span.start)),
        ) | beam.Flatten()


@dataclass
class ReadImages(beam.PTransform):
    """Fetch, decode, repair and resize images, ahead of the step that takes them.

    A look-ahead of images is read by threads while the following, fused steps work: that is how decoding overlaps
    inference without pixels ever crossing between stages. Outputs: images, and `failed`.

    Attributes:
      image_size: columns and rows of the result.
      resize_filter: one of `images.RESIZE_FILTERS`.
      limits: what one image may cost.
      reads_in_flight: images that are fetched at the same time. At most twice as many are read and not yet taken, which
        bounds the memory.
      threads: images that are decoded at the same time.
      run: name of the run, to report failures to.
      access: how buckets are reached.
    """

    image_size: int
    resize_filter: str
    limits: Limits = field(default_factory=Limits)
    reads_in_flight: int = 32
    threads: int = field(default_factory=available_cores)
    run: str = ""
    access: storage.Access = field(default_factory=storage.Access)

    def __post_init__(self) -> None:
        if self.reads_in_flight < 1 or self.threads < 1:
            raise ValueError(f"reads_in_flight {self.reads_in_flight} and threads {self.threads} must be at least 1")

    def expand(self, refs: PCollection[ImageRef]) -> Any:
        """Apply the transform."""
        return refs | "Read" >> beam.ParDo(_ReadImages(self)).with_outputs(FAILED, main="images")


@dataclass
class PredictProbabilities(beam.PTransform):
    """Run the model on images, ahead of the step that takes the predictions. Outputs: predictions, and `failed`.

    Attributes:
      model: of the bundle.
      run: name of the run, to report failures to.
    """

    model: Model
    run: str = ""

    def expand(self, images: PCollection[Image]) -> Any:
        """Apply the transform."""
        return images | "Predict" >> beam.ParDo(_Predict(self)).with_outputs(FAILED, main="predictions")


@dataclass
class WritePredictions(beam.PTransform):
    """Write predictions to staged Parquet files."""

    run: Run

    def expand(self, predictions: PCollection[Prediction]) -> PCollection[StagedFile]:
        """Apply the transform."""
        return predictions | "Write" >> beam.ParDo(_WriteTable(PredictionRows(), self.run))


@dataclass
class WriteFailures(beam.PTransform):
    """Write failures to staged Parquet files."""

    run: Run

    def expand(self, failures: PCollection[Failure]) -> PCollection[StagedFile]:
        """Apply the transform."""
        return failures | "Write" >> beam.ParDo(_WriteTable(FailureRows(), self.run))


@dataclass
class WriteManifest(beam.PTransform):
    """Move all staged files into place, balance the accounts and write the manifest, once all else is done.

    Attributes:
      run: of the job.
      counted: accounts of what was listed and of what was left out.
      superseded: earlier rows that go when the new ones come.
      earlier: accounts of the run's earlier waves.
      last: whether nothing of the run follows.
    """

    run: Run
    counted: PCollection[Accounts]
    superseded: PCollection[Superseded]
    earlier: Accounts
    last: bool

    def expand(self, files: PCollection[StagedFile]) -> PCollection[Accounts]:
        """Apply the transform."""
        # Side inputs are complete before the step begins: no file moves while another one may still be written.
        return (
            files.pipeline
            | "Once" >> beam.Impulse()
            | "Commit"
            >> beam.Map(
                partial(_commit_and_account, run=self.run, earlier=self.earlier, last=self.last),
                files=AsIter(files),
                counted=AsIter(self.counted),
                superseded=AsIter(self.superseded),
            )
        )


@dataclass
class TagImages(beam.PTransform):
    """Tag listed images and write all there is to say about them: the whole job after the listing.

    Attributes:
      run: of the job.
      model: of the bundle.
      limits: what one image may cost.
      reads_in_flight: images that are fetched at the same time.
      earlier: accounts of the run's earlier waves.
      last: whether nothing of the run follows.
      spread: whether other workers than the one that lists can read; where there is one only, the shuffle between them
        would hold every name of the wave in memory for nothing.
    """

    run: Run
    model: Model
    limits: Limits = field(default_factory=Limits)
    reads_in_flight: int = 32
    earlier: Accounts = field(default_factory=Accounts)
    last: bool = True
    spread: bool = True

    def expand(self, listed: PCollection[Listed]) -> PCollection[Accounts]:
        """Apply the transform."""
        bundle = self.run.bundle
        remaining = listed | SkipTagged(self.run)
        # Only names cross here. From reading to writing the steps are fused: pixels stay where they were decoded.
        refs = remaining.refs | SpreadReads() if self.spread else remaining.refs
        read = refs | ReadImages(
            *(bundle.image_size, bundle.resize_filter, self.limits, self.reads_in_flight),
            run=self.run.name,
            access=self.run.access,
        )
        predicted = read.images | PredictProbabilities(self.model, self.run.name)
        failures = (remaining[FAILED], read[FAILED], predicted[FAILED]) | "AllFailures" >> beam.Flatten()
        files = (
            predicted.predictions | WritePredictions(self.run),
            failures | WriteFailures(self.run),
        ) | "AllFiles" >> beam.Flatten()
        return files | WriteManifest(
            self.run,
            counted=remaining[COUNTED],
            superseded=remaining[SUPERSEDED],
            earlier=self.earlier,
            last=self.last,
        )


def _list_images(listing: ListImages) -> Iterator[Listed]:
    storage.use(listing.access)
    return list_images(listing.inputs, listing.input_list)


def _commit_and_account(
    _: bytes,
    files: Iterable[StagedFile],
    counted: Iterable[Accounts],
    superseded: Iterable[Superseded],
    run: Run,
    earlier: Accounts,
    last: bool,
) -> Accounts:
    storage.use(run.access)
    check_still_held(run)
    return commit(run, list(files), list(superseded), earlier, sum(counted, Accounts()), last)


class _SkipTagged(beam.DoFn):
    def __init__(self, run: Run) -> None:
        self._run = run

    def setup(self) -> None:
        storage.use(self._run.access)

    def start_bundle(self) -> None:
        self._earlier = read_earlier(self._run.folder, self._run.name)
        # Counted here, once a bundle: Beam's own counting would be a dozen steps more.
        self._inputs = self._skipped = 0

    def process(self, listed: Listed) -> Iterator[Any]:
        self._inputs += 1
        earlier = self._earlier.find(listed.path, listed.fingerprint)
        if earlier and earlier.tagged:
            self._skipped += 1
            progress.report(self._run.name, done=1)
            return
        if earlier:
            yield TaggedOutput(SUPERSEDED, Superseded(listed.path, earlier.file))
        yield _sort_out(listed, self._run.name)

    def finish_bundle(self) -> Iterator[Any]:
        yield TaggedOutput(COUNTED, _in_window(Accounts(inputs=self._inputs, skipped=self._skipped)))


class _Ahead(beam.DoFn):
    """A step that works ahead of the next one: what it begins with an element, it gives on with a later one."""

    _ahead: LookAhead | InferenceAhead
    _run: str

    def process(self, element: Any) -> Iterator[Any]:
        interruption.check()
        for item in self._ahead.put(element):
            yield _sort_out(item, self._run)

    def finish_bundle(self) -> Iterator[Any]:
        for item in self._ahead.drain():
            interruption.check()
            sorted_out = _sort_out(item, self._run)
            failed = isinstance(sorted_out, TaggedOutput)
            yield TaggedOutput(FAILED, _in_window(item)) if failed else _in_window(item)

    def teardown(self) -> None:
        self._ahead.close()


class _ReadImages(_Ahead):
    def __init__(self, settings: ReadImages) -> None:
        self._settings = settings
        self._run = settings.run

    def setup(self) -> None:
        storage.use(self._settings.access)
        limits = self._settings.limits
        decoding = DecodeSettings(self._settings.image_size, self._settings.resize_filter, limits.max_pixels)
        self._ahead = LookAhead(decoding, limits, self._settings.reads_in_flight, self._settings.threads)


class _Predict(_Ahead):
    def __init__(self, settings: PredictProbabilities) -> None:
        self._model = settings.model
        self._run = settings.run

    def setup(self) -> None:
        self._ahead = InferenceAhead(self._model.load(), self._model.batch_size)


class _WriteTable(beam.DoFn):
    def __init__(self, kind: Rows, run: Run) -> None:
        self._kind = kind
        self._run = run

    def setup(self) -> None:
        storage.use(self._run.access)

    def start_bundle(self) -> None:
        self._writer = TableWriter(self._kind, self._run)

    def process(self, row: Prediction | Failure) -> None:
        self._writer.write(row)
        if isinstance(row, Prediction):
            progress.report(self._run.name, done=1)

    def finish_bundle(self) -> Iterator[Any]:
        file = self._writer.close()
        if file:
            yield _in_window(file)


def _sort_out(item: Any, run: str) -> Any:
    """Send a failure its own way, and report it at once: it is written only when all images of the wave are done."""
    if not isinstance(item, Failure):
        return item
    progress.report_failure(run, item)
    return TaggedOutput(FAILED, item)


def _in_window(value: Any) -> WindowedValue:
    """Wrap what a bundle's end yields, which Beam cannot place in a window by itself."""
    return GlobalWindows.windowed_value_at_end_of_window(value)

"""The transforms of the pipeline, each a thin layer over plain functions of other modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter, PCollection

from pipelines.job.predicting import PredictSettings
from pipelines.job.steps.images import ReadAndPredict
from pipelines.job.steps.listing import Divide, EarlierFile, Found, ListPieces, OpenListed
from pipelines.job.steps.merging import JoinFiles, PlanMerges
from pipelines.job.steps.rows import CloseWave
from pipelines.job.steps.settling import LeaveOutTagged, PutInOrder, SettlePartition
from pipelines.job.steps.step import (
    COUNTED,
    DAMAGED,
    EMPTY,
    FAILED,
    FILES,
    FOUND,
    PARTITIONS,
    POSTPONED,
    REFS,
    SOURCES,
    SUPERSEDED,
    UNLISTED,
    Step,
)
from pipelines.listing.inputs import Inputs
from pipelines.listing.pieces import Piece
from pipelines.listing.scenes import CutSettings
from pipelines.output.earlier import EarlierPart
from pipelines.output.identities import Unlisted
from pipelines.output.merging import Group
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.stale import ReadThrough
from pipelines.output.written import StagedFile, Superseded
from pipelines.records import Empty, Failure, ImageRef, Listed, Prediction


@dataclass
class ListImages(beam.PTransform):
    """List the images that the inputs name, and the rows of earlier runs, all by partition.

    A worker divides the inputs into pieces, and all of them list; then all of them open the archives and scenes that
    were found. Names travel in packs, as an element costs more than a name. Outputs: `partitions`, packs
    of names and of rows by the number of their partition; `counted`, accounts of what was passed over; and `sources`,
    numbers of the inputs in which there was anything.

    Attributes:
      run: of the job.
      inputs: what to list.
      cutting: how scenes are cut.
      wave: for which they are listed.
    """

    run: Run
    inputs: Inputs
    cutting: CutSettings
    wave: Wave = field(default_factory=Wave)

    def expand(self, begin: beam.pvalue.PBegin) -> dict[str, Any]:
        """Apply the transform."""
        divide = _several(Divide(self.run, self.inputs, self.wave), {"pieces": Piece | EarlierFile, COUNTED: Accounts})
        list_each = _several(ListPieces(self.run, self.inputs.documents), {"packs": Found, COUNTED: Accounts})
        kinds = {PARTITIONS: tuple[int, bytes | EarlierPart | ReadThrough], COUNTED: Accounts, SOURCES: int}
        open_each = _several(OpenListed(self.run, self.cutting), kinds)
        divided = begin | "Once" >> beam.Impulse() | "Divide" >> divide
        listed = divided.pieces | "SpreadPieces" >> beam.Reshuffle() | "List" >> list_each
        opened = listed.packs | "SpreadPacks" >> beam.Reshuffle() | "Open" >> open_each
        counted = (divided[COUNTED], listed[COUNTED], opened[COUNTED]) | "Counted" >> beam.Flatten()
        return {PARTITIONS: opened.partitions, COUNTED: counted, SOURCES: opened[SOURCES]}


@dataclass
class SkipTagged(beam.PTransform):
    """Leave out images that an earlier run has tagged, names that cannot be images, and duplicates.

    An image is identified by its path and fingerprint. Names and earlier rows meet by partition, so that no process
    holds all of either. Outputs: `refs`, packs of images to read, each with a key of what is read together; `failed`,
    the names that cannot be images; `superseded`, the earlier rows that the new ones replace; `counted`, accounts of
    what came in and what was left out as already tagged; and `unlisted`, in an overwrite, earlier rows whose images
    were not listed. What is `postponed` is counted.

    Attributes:
      run: of the job.
      wave: for which they are listed.
      most: images that a wave takes of each partition; the others are postponed.
    """

    run: Run
    wave: Wave = field(default_factory=Wave)
    most: int | None = None

    def expand(self, partitions: PCollection[tuple[int, bytes | EarlierPart | ReadThrough]]) -> dict[str, Any]:
        """Apply the transform."""
        kinds = {REFS: tuple[str, bytes], FAILED: Failure, SUPERSEDED: Superseded, COUNTED: Accounts}
        kinds |= {UNLISTED: Unlisted, POSTPONED: int}
        settle = _several(SettlePartition(self.run, self.wave, self.most), kinds)
        settled = partitions | beam.GroupByKey() | "Settle" >> settle
        return {kind: settled[kind] for kind in kinds}


@dataclass
class SkipTaggedInMemory(beam.PTransform):
    """Do what `SkipTagged` does in a process that holds the rows of all earlier runs, for names without duplicates.

    Outputs: the same, but images in place of packs; and `found`, in an overwrite, the digests of the paths of images
    that have earlier rows, in place of `unlisted`.

    Attributes:
      run: of the job.
    """

    run: Run

    def expand(self, listed: PCollection[Listed]) -> dict[str, Any]:
        """Apply the transform."""
        kinds = {REFS: ImageRef, FAILED: Failure, SUPERSEDED: Superseded, COUNTED: Accounts, FOUND: bytes}
        remaining = listed | "Skip" >> _several(LeaveOutTagged(self.run), kinds)
        return {kind: remaining[kind] for kind in kinds}


@dataclass
class SpreadReads(beam.PTransform):
    """Spread images over all workers, but send those that are read at once to one worker, in their order.

    These are the members of a compressed archive, and the windows of a part of a scene.
    """

    def expand(self, packs: PCollection[tuple[str, bytes]]) -> PCollection[ImageRef]:
        """Apply the transform."""
        in_order = beam.ParDo(PutInOrder()).with_output_types(ImageRef)
        return packs | beam.GroupByKey() | "InOrder" >> in_order


@dataclass
class PredictImages(beam.PTransform):
    """Fetch, decode, repair and resize images and run the model on them, ahead of the step that consumes the results.

    Threads work ahead while the following, fused steps do, and pixels never cross between steps. Outputs: predictions,
    `failed`, `empty`, windows with too little data, and `postponed`, numbers of images that were not read
    because the run was asked to stop.

    Attributes:
      run: of the job.
      settings: of each process.
    """

    run: Run
    settings: PredictSettings

    def expand(self, refs: PCollection[ImageRef]) -> Any:
        """Apply the transform."""
        kinds = {"predictions": Prediction, FAILED: Failure, EMPTY: Empty, POSTPONED: int}
        return refs | "Predict" >> _several(ReadAndPredict(self.run, self.settings), kinds)


@dataclass
class MergeFiles(beam.PTransform):
    """Merge staged files to such of about 128 MB or a million rows, on all workers, once all of them are written.

    Outputs: `files`; and `damaged`, numbers of rows that are in none of these, as their staged files cannot be read.
    """

    run: Run

    def expand(self, files: PCollection[StagedFile]) -> Any:
        """Apply the transform."""
        plan = beam.ParDo(PlanMerges(), files=AsIter(files)).with_output_types(Group)
        merge = _several(JoinFiles(self.run), {FILES: StagedFile, DAMAGED: int})
        once = files.pipeline | "OnceAllAreWritten" >> beam.Impulse()
        return once | "Plan" >> plan | beam.Reshuffle() | "Merge" >> merge


@dataclass
class WriteManifest(beam.PTransform):
    """Move all staged files into place, balance the accounts and write the manifest, after everything else.

    Attributes:
      run: of the job.
      wave: the part of the run to commit.
      others: outputs of the steps before, besides the files, by their names; some may be missing.
      inputs: what was listed, where workers have listed it.
    """

    run: Run
    wave: Wave
    others: Mapping[str, PCollection[Any]]
    inputs: Inputs | None = None

    def expand(self, files: PCollection[StagedFile]) -> PCollection[Accounts]:
        """Apply the transform."""
        # Side inputs are complete before the step begins, so no file moves while another may still be written.
        side_inputs = {name: AsIter(collection) for name, collection in self.others.items()}
        close = beam.ParDo(CloseWave(self.run, self.wave, self.inputs), files=AsIter(files), **side_inputs)
        return files.pipeline | "Once" >> beam.Impulse() | "Commit" >> close.with_output_types(Accounts)


def _several(step: Step, kinds: Mapping[str, Any]) -> Any:
    """Apply a step that has several outputs, of these types; the first is the main one."""
    main, *others = kinds
    typed = beam.ParDo(step).with_output_types(kinds[main], **{name: kinds[name] for name in others})
    return typed.with_outputs(*others, main=main)

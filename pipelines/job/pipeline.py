"""The whole job, and the part of it that a local run repeats for each wave: from images to read to committed rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipelines.images.limits import Limits
from pipelines.inference.ahead import Model
from pipelines.job.predicting import PredictSettings
from pipelines.job.steps.rows import WriteTable
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
)
from pipelines.job.transforms import (
    ListImages,
    MergeFiles,
    PredictImages,
    SkipTagged,
    SpreadReads,
    WriteManifest,
)
from pipelines.listing.inputs import Inputs
from pipelines.listing.scenes import CutSettings
from pipelines.output import partitions
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.writing import EmptyTable, FailureTable, PredictionTable, Table
from pipelines.output.written import StagedFile
from pipelines.reading import READS_IN_FLIGHT
from pipelines.scenes.documents import NO_DOCUMENTS, Documents


@dataclass
class TagImages(beam.PTransform):
    """Tag images and write the results: the job after `SkipTagged` and `SpreadReads`, or `SkipTaggedInMemory`.

    Attributes:
      run: of the job.
      model: of the bundle.
      limits: per-image limits.
      reads_in_flight: images fetched concurrently.
      wave: the part of the run to tag.
      hints: Beam's resource hints for the machines that read, predict and write, e.g. `accelerator`.
      documents: that may name files.
      inputs: what workers have listed; None if the launching process has.
    """

    run: Run
    model: Model
    limits: Limits = field(default_factory=Limits)
    reads_in_flight: int = READS_IN_FLIGHT
    wave: Wave = field(default_factory=Wave)
    hints: Mapping[str, str] = field(default_factory=dict)
    documents: Documents = NO_DOCUMENTS
    inputs: Inputs | None = None

    def expand(self, settled: Mapping[str, PCollection[Any]]) -> PCollection[Accounts]:
        """Apply the transform to the outputs of the one before."""
        # From reading to writing, the steps are fused: pixels stay where they were decoded. Beam does not fuse steps
        # with different hints, so all of these have the same ones.
        predicted = settled[REFS] | PredictImages(self.run, self.predicting).with_resource_hints(**self.hints)
        failures = (settled[FAILED], predicted[FAILED]) | "AllFailures" >> beam.Flatten()
        written = [
            predicted.predictions | "WritePredictions" >> self._write(PredictionTable()),
            failures | "WriteFailures" >> self._write(FailureTable()),
        ]
        if self.run.grid:
            written.append(predicted[EMPTY] | "WriteEmpty" >> self._write(EmptyTable()))
        files = written | "AllFiles" >> beam.Flatten()
        names = (COUNTED, SUPERSEDED, FOUND, UNLISTED, SOURCES)
        others = {name: settled[name] for name in names if name in settled}
        if self.inputs:
            # In a local run, the commit joins the few files of a wave.
            merged = files | MergeFiles(self.run)
            files, others[DAMAGED] = merged[FILES], merged[DAMAGED]
        others[POSTPONED] = predicted[POSTPONED]
        if POSTPONED in settled:
            others[POSTPONED] = (predicted[POSTPONED], settled[POSTPONED]) | "AllPostponed" >> beam.Flatten()
        return files | WriteManifest(self.run, self.wave, others, self.inputs)

    @property
    def cutting(self) -> CutSettings:
        """How scenes are cut."""
        return CutSettings(self.run.grid, self.run.rendering, self.limits.max_pixels, self.documents.trusted)

    @property
    def predicting(self) -> PredictSettings:
        """How each process reads and predicts."""
        return PredictSettings.of_run(self.run, self.model, self.limits, self.reads_in_flight)

    def _write(self, table: Table) -> beam.ParDo:
        """Write rows of one table to staged files; where workers have listed, finish these before a bundle ends."""
        write = beam.ParDo(WriteTable(table, self.run, often=self.inputs is not None))
        return write.with_output_types(StagedFile).with_resource_hints(**self.hints)


def tag_listed(
    pipeline: beam.Pipeline, tagging: TagImages, inputs: Inputs, most: int | None = None
) -> PCollection[Accounts]:
    """Add the whole job to a pipeline: workers list the inputs, and tag what they find.

    Args:
      pipeline: to add to.
      tagging: how images are tagged.
      inputs: what is listed.
      most: images of a wave, about; the others are postponed.
    """
    listed = pipeline | ListImages(tagging.run, inputs, tagging.cutting, tagging.wave)
    skipped = listed[PARTITIONS] | SkipTagged(
        tagging.run, tagging.wave, most and math.ceil(most / partitions.PARTITIONS)
    )
    # With the same hints as the steps that read: names would otherwise cross once more.
    refs = skipped[REFS] | SpreadReads().with_resource_hints(**tagging.hints)
    # The first wave has counted what the listing passes over.
    passed_over = [listed[COUNTED]] if tagging.wave.is_first else []
    counted = [skipped[COUNTED], *passed_over] | "AllCounted" >> beam.Flatten()
    settled = {**skipped, REFS: refs, COUNTED: counted, SOURCES: listed[SOURCES]}
    return settled | replace(tagging, inputs=inputs)

"""The whole job after the listing: the transforms between listed images and committed rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.inference.ahead import Model
from pipelines.job.steps.outputs import COUNTED, EMPTY, FAILED, FOUND, POSTPONED, SUPERSEDED
from pipelines.job.transforms import (
    CutScenes,
    PredictImages,
    SkipTagged,
    SpreadReads,
    WriteEmpty,
    WriteFailures,
    WriteManifest,
    WritePredictions,
)
from pipelines.listing.scenes import CutSettings
from pipelines.output.run import Accounts, Run, Wave
from pipelines.reading import READS_IN_FLIGHT
from pipelines.records import Listed
from pipelines.scenes.documents import NO_DOCUMENTS, Documents


@dataclass
class TagImages(beam.PTransform):
    """Tag listed images and write the results: the whole job after the listing.

    Attributes:
      run: of the job.
      model: of the bundle.
      limits: per-image limits.
      reads_in_flight: images fetched concurrently.
      wave: the part of the run to tag.
      passed_over: accounts of what the listing passed over, unless an earlier wave includes them.
      postponed: numbers of images that the wave left to a later one even before they came here.
      hints: Beam's resource hints for the machines that read, predict and write, e.g. `accelerator`.
      documents: that may name files.
      spread: whether workers other than the one that lists can read; with a single worker, the shuffle would hold every
        name of the wave in memory for nothing.
    """

    run: Run
    model: Model
    limits: Limits = field(default_factory=Limits)
    reads_in_flight: int = READS_IN_FLIGHT
    wave: Wave = field(default_factory=Wave)
    passed_over: PCollection[Accounts] | None = None
    postponed: PCollection[int] | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    documents: Documents = NO_DOCUMENTS
    spread: bool = True

    def expand(self, listed: PCollection[Listed]) -> PCollection[Accounts]:
        """Apply the transform."""
        # In a local run, the waves are cut already.
        images = listed | CutScenes(self.cutting, self.run.access) if self.run.grid and self.spread else listed
        remaining = images | SkipTagged(self.run)
        # Only names cross here. From reading to writing, the steps are fused: pixels stay where they were decoded. Beam
        # does not fuse steps with different hints, so all of these have the same ones.
        refs = remaining.refs | SpreadReads() if self.spread else remaining.refs
        predicted = refs | self._predict().with_resource_hints(**self.hints)
        failures = (remaining[FAILED], predicted[FAILED]) | "AllFailures" >> beam.Flatten()
        written = [
            predicted.predictions | WritePredictions(self.run, often=self.spread).with_resource_hints(**self.hints),
            failures | WriteFailures(self.run, often=self.spread).with_resource_hints(**self.hints),
        ]
        if self.run.grid:
            written.append(predicted[EMPTY] | WriteEmpty(self.run, often=self.spread).with_resource_hints(**self.hints))
        files = written | "AllFiles" >> beam.Flatten()
        counted = remaining[COUNTED]
        if self.passed_over:
            counted = (counted, self.passed_over) | "AllCounted" >> beam.Flatten()
        postponed = predicted[POSTPONED]
        if self.postponed:
            postponed = (postponed, self.postponed) | "AllPostponed" >> beam.Flatten()
        close = WriteManifest(self.run, self.wave, counted, remaining[SUPERSEDED], remaining[FOUND], postponed)
        return files | close

    @property
    def cutting(self) -> CutSettings:
        """How scenes are cut."""
        return CutSettings(self.run.grid, self.run.rendering, self.limits.max_pixels, self.documents.trusted)

    @property
    def decoding(self) -> DecodeSettings:
        """What the model takes."""
        bundle = self.run.bundle
        return DecodeSettings(bundle.image_size, bundle.resize_filter, self.limits.max_pixels, self.run.rendering)

    def _predict(self) -> PredictImages:
        bundle = self.run.bundle
        return PredictImages(
            *(self.model, bundle.image_size, bundle.resize_filter, self.limits, self.reads_in_flight),
            threads=self.model.threads,
            run=self.run.name,
            access=self.run.access,
            rendering=self.run.rendering,
            grid=self.run.grid,
        )

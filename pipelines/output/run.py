"""One run of the job, as all of its steps know it, and its accounts."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pipelines import storage
from pipelines.archives.members import ArchiveBombError, DamagedArchiveError, UntrustedArchiveError
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.inference.bundle import Bundle
from pipelines.inference.rules import NO_RULES, Rules
from pipelines.inference.shift import Seen
from pipelines.output.footers import probability_columns
from pipelines.output.schema import FAILURE_COLUMNS, PREDICTION_COLUMNS, SCENE_COLUMNS
from pipelines.records import KeptColumn
from pipelines.scenes.grid import NO_GRID, Grid
from pipelines.storage import Access
from pipelines.supervision.packages import version

PREDICTIONS, FAILURES, EMPTY, RUNS = "predictions", "failures", "empty", "runs"
TABLES = (PREDICTIONS, FAILURES, EMPTY)
STAGING, SHADOW = "_staging-", "_overwrite-"
MERGED = "merged"
"""Folder of the staging folder with files that hold the rows of its others."""

HIDING = frozenset(
    error.__name__
    for error in (ArchiveBombError, DamagedArchiveError, UntrustedArchiveError, storage.UnlistedFolderError)
)
"""Errors of a listing behind which images may be hidden: how many there were is not known."""


@dataclass(frozen=True)
class OutputRun:
    """A run of a command that writes to an output.

    Attributes:
      name: begins with the UTC time of its start, so that names sort by age.
      output: the output folder.
      detached: whether the launching process ends before the run does.
      started: seconds since the epoch.
      options: what the user asked for, for the manifest.
    """

    name: str
    output: str
    detached: bool = field(default=False, kw_only=True)
    started: float = field(default_factory=time.time, kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def manifest(self) -> str:
        """Path of the run's manifest."""
        return storage.join(self.output, RUNS, f"{self.name}.json")

    @property
    def staging(self) -> str:
        """Folder of files that are not yet committed."""
        return storage.join(self.output, f"{STAGING}{self.name}")

    def stage(self, table: str) -> str:
        """Choose a place for a new file of a table that no other attempt at the same rows takes."""
        return storage.join(self.staging, table, f"{self.name}-{os.urandom(6).hex()}.parquet")

    def stage_merged(self, table: str) -> str:
        """Choose a place for a file that holds the rows of staged ones, apart from them: they are still there."""
        return self.stage(posixpath.join(MERGED, table))

    @property
    def folder(self) -> str:
        """Folder of the tables."""
        return self.output

    def relative(self, path: str) -> str:
        """Return a path in the output relative to it."""
        return path.removeprefix(self.output).lstrip("/")


@dataclass(frozen=True)
class Run(OutputRun):
    """One run of the job, as all of its steps know it.

    Attributes:
      bundle: the model.
      thresholds: least probability of a tag, one per label.
      overwrite: whether rows of earlier runs are replaced instead of kept.
      max_failure_rate: largest share of failures, 0 to 1, at which an overwrite still replaces them.
      fail_on_shift: whether an overwrite keeps them if its images are unlike those that the model was trained on.
      timings: seconds spent before the tagging, by phase, for the manifest.
      access: how buckets are reached.
      rendering: how rasters become pictures.
      grid: how scenes are cut into windows.
      kept: columns of the list that go into its rows.
      embedding_size: features of the embeddings in its rows; 0 if they have none.
      relative_to: folder below which its images are known by the rest of their paths; empty if by their whole paths.
      settings: what decides its rows besides bundle and thresholds: the engine, and the limits of images.
      rules: for tags, beyond the thresholds.
      engine: that computes its probabilities; empty if only the workers know.
      precision: in which it does, one of `inference.PRECISIONS`.
      retagged: whether thresholds and rules are those that `scenetags retag` chose for the output.
    """

    bundle: Bundle
    thresholds: tuple[float, ...]
    overwrite: bool = False
    max_failure_rate: float = 1.0
    fail_on_shift: bool = False
    timings: Mapping[str, float] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    rendering: Rendering = NO_RENDERING
    grid: Grid = NO_GRID
    kept: tuple[KeptColumn, ...] = ()
    relative_to: str = ""
    embedding_size: int = 0
    settings: tuple[str | int, ...] = ()
    rules: Rules = NO_RULES
    retagged: bool = False
    engine: str = ""
    precision: str = "float32"

    @property
    def folder(self) -> str:
        """Folder of the tables: the output, or the shadow folder in which an overwrite gathers its rows.

        All runs that would write the same row for an image share a shadow folder, so that an interrupted overwrite can
        resume. Their images may differ: in the end, an overwrite drops the rows of those that it did not list.
        """
        if not self.overwrite:
            return self.output
        columns = [column.name for column in (*PREDICTION_COLUMNS, *SCENE_COLUMNS, *FAILURE_COLUMNS)]
        columns += probability_columns(self.bundle.labels).values()
        made_with = self.bundle.digest, self.thresholds, self.rendering, self.grid, self.settings, version("scenetags")
        # Left out where it is not there, for the sake of the shadow folders of earlier versions.
        further = [*self.kept, *["relative"] * bool(self.relative_to), *["embeddings"] * bool(self.embedding_size)]
        further += [self.precision] * (self.precision != "float32")
        rows = json.dumps([*made_with, columns, *further])
        return storage.join(self.output, f"{SHADOW}{hashlib.sha256(rows.encode()).hexdigest()[:12]}")

    def holds(self, path: str) -> bool:
        """Return whether an image may have a row: whether it is below the folder that paths are relative to."""
        return not self.relative_to or path.startswith(storage.join(self.relative_to, ""))

    def known_as(self, path: str) -> str:
        """Return the path by which an image is known in rows."""
        below = path.removeprefix(storage.join(self.relative_to, "")) if self.relative_to and self.holds(path) else ""
        # An object may be named as if it were in a folder without a name; its row would seem to name a file of this
        # machine.
        return path if below.startswith("/") else below or path


@dataclass(frozen=True)
class Accounts:
    """Counts of a run, or of a part of it.

    Attributes:
      inputs: images and other names listed.
      predictions: rows written to `predictions/`.
      failures: rows written to `failures/`.
      skipped: inputs that an earlier run has tagged, or found empty.
      empty: windows of scenes of which too little holds data.
      tags: predictions with each tag.
      repairs: predictions by the repairs that their image needed.
      errors: failures by stage and kind of error.
      oversized: predictions of images far larger than those that the model was trained on.
      passed_over: files in the listed folders that are not images by name, by the ending of their names; they are not
        inputs.
      seen: what was measured of the images that were tagged.
    """

    inputs: int = 0
    predictions: int = 0
    failures: int = 0
    skipped: int = 0
    empty: int = 0
    oversized: int = 0
    tags: Mapping[str, int] = field(default_factory=Counter)
    repairs: Mapping[str, int] = field(default_factory=Counter)
    errors: Mapping[str, int] = field(default_factory=Counter)
    passed_over: Mapping[str, int] = field(default_factory=Counter)
    seen: Seen = field(default_factory=Seen)

    def __add__(self, other: Accounts) -> Accounts:
        """Add two parts of a run."""
        return Accounts(
            self.inputs + other.inputs,
            self.predictions + other.predictions,
            self.failures + other.failures,
            self.skipped + other.skipped,
            self.empty + other.empty,
            self.oversized + other.oversized,
            Counter(self.tags) + Counter(other.tags),
            Counter(self.repairs) + Counter(other.repairs),
            Counter(self.errors) + Counter(other.errors),
            Counter(self.passed_over) + Counter(other.passed_over),
            self.seen.and_also(other.seen),
        )

    @property
    def counts(self) -> dict[str, Any]:
        """All counts by their names."""
        return {name: value for name, value in vars(self).items() if name != "seen"}

    @property
    def balanced(self) -> bool:
        """Whether every input became exactly one row or was skipped."""
        return self.inputs == self.predictions + self.failures + self.skipped + self.empty

    @property
    def listing_is_complete(self) -> bool:
        """Whether all images were listed, as far as is known: nothing that failed may hide others."""
        return not any(self.errors.get(f"list: {error}") for error in HIDING)

    @property
    def failure_rate(self) -> float:
        """Share of the inputs that failed, 0 to 1."""
        # Of all inputs: if those already tagged did not count, an archive with one bad image would pass in its first
        # run and fail in every later one.
        return self.failures / self.inputs if self.inputs else 0.0


@dataclass(frozen=True)
class Wave:
    """The images that a run commits together: a slice of them on a local run, all of them on a distributed one.

    Attributes:
      earlier: accounts of the run's earlier waves.
      inputs: number of names listed for the wave; None to use the number that the steps counted.
      last: whether this is the last wave.
    """

    earlier: Accounts = field(default_factory=Accounts)
    inputs: int | None = None
    last: bool = True

    @property
    def is_first(self) -> bool:
        """Whether the run has committed nothing before."""
        return not self.earlier.inputs

    def without(self, postponed: int) -> Wave:
        """Return the wave without so many images, which it leaves to a later wave or run."""
        if not postponed:
            return self
        return replace(self, inputs=None if self.inputs is None else self.inputs - postponed, last=False)


def new_run_name() -> str:
    """Name a run by the microsecond of its start, so that names sort by age."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.urandom(2).hex()}"

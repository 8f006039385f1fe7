"""One run of the job: what all of its steps know of it, and its accounts."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pipelines import storage
from pipelines.inference.bundle import Bundle
from pipelines.storage import Access

PREDICTIONS, FAILURES, RUNS = "predictions", "failures", "runs"
STAGING, SHADOW = "_staging-", "_overwrite-"


@dataclass(frozen=True)
class Run:
    """One run of the job, as all of its steps know it.

    Attributes:
      name: begins with the UTC time of its start, so that names sort by age.
      output: the output folder.
      bundle: the model.
      thresholds: the least probability of a tag, one a label.
      overwrite: whether rows of earlier runs are replaced instead of kept.
      max_failure_rate: share of failures, 0 to 1, with which an overwrite still replaces them.
      detached: whether the process that launches the run ends before it does.
      options: what the user asked for, for the manifest.
      started: seconds since the epoch.
      timings: seconds of what came before the tagging, for the manifest.
      access: how buckets are reached.
    """

    name: str
    output: str
    bundle: Bundle
    thresholds: tuple[float, ...]
    overwrite: bool = False
    max_failure_rate: float = 1.0
    detached: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    timings: Mapping[str, float] = field(default_factory=dict)
    access: Access = field(default_factory=Access)

    @property
    def manifest(self) -> str:
        """Path of the run's manifest."""
        return storage.join(self.output, RUNS, f"{self.name}.json")

    @property
    def staging(self) -> str:
        """Folder of files that are not yet whole."""
        return storage.join(self.output, f"{STAGING}{self.name}")

    @property
    def folder(self) -> str:
        """Folder of the tables: the output, or one in its shadow where an overwrite gathers its rows.

        The shadow is the same for every run that would write the same rows, so that an overwrite that was stopped can
        go on.
        """
        if not self.overwrite:
            return self.output
        rows = json.dumps([self.bundle.digest, self.thresholds, version("scenetags")])
        return storage.join(self.output, f"{SHADOW}{hashlib.sha256(rows.encode()).hexdigest()[:12]}")


@dataclass(frozen=True)
class Accounts:
    """Counts of a run, or of a part of it.

    Attributes:
      inputs: what was listed.
      predictions: rows written to `predictions/`.
      failures: rows written to `failures/`.
      skipped: inputs that an earlier run has tagged.
      tags: predictions that bear each tag.
      repairs: predictions by the repairs that their image needed.
      errors: failures by stage and kind of error.
      passed_over: files in the listed folders that are not named like images, by the ending of their names; they are
        no inputs.
    """

    inputs: int = 0
    predictions: int = 0
    failures: int = 0
    skipped: int = 0
    tags: Mapping[str, int] = field(default_factory=Counter)
    repairs: Mapping[str, int] = field(default_factory=Counter)
    errors: Mapping[str, int] = field(default_factory=Counter)
    passed_over: Mapping[str, int] = field(default_factory=Counter)

    def __add__(self, other: Accounts) -> Accounts:
        """Add two parts of a run."""
        return Accounts(
            self.inputs + other.inputs,
            self.predictions + other.predictions,
            self.failures + other.failures,
            self.skipped + other.skipped,
            Counter(self.tags) + Counter(other.tags),
            Counter(self.repairs) + Counter(other.repairs),
            Counter(self.errors) + Counter(other.errors),
            Counter(self.passed_over) + Counter(other.passed_over),
        )

    @property
    def balanced(self) -> bool:
        """Whether every input has become exactly one row or was skipped."""
        return self.inputs == self.predictions + self.failures + self.skipped

    @property
    def failure_rate(self) -> float:
        """Share of the inputs that failed, 0 to 1."""
        # Of all inputs: were those left out that are tagged already, an archive with one bad image would do well in
        # its first run and badly in every later one.
        return self.failures / self.inputs if self.inputs else 0.0


@dataclass(frozen=True)
class Wave:
    """The images of a run that are committed at once: a slice of them on this machine, all of them elsewhere.

    Attributes:
      earlier: accounts of the run's waves before.
      inputs: count of what was listed for the wave, where it is known; else it is what was counted on the way.
      last: whether no wave follows.
    """

    earlier: Accounts = field(default_factory=Accounts)
    inputs: int | None = None
    last: bool = True


def new_run_name() -> str:
    """Name a run by the microsecond of its start, so that names sort by age."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.urandom(2).hex()}"

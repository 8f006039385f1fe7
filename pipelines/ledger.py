"""The books of a run: what it is, its accounts, and the manifest in which they are written down."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pipelines import storage
from pipelines.bundle import Bundle
from pipelines.engines import available_cores
from pipelines.storage import Access

PREDICTIONS, FAILURES, RUNS = "predictions", "failures", "runs"
STAGING, SHADOW = "_staging-", "_overwrite-"
ENDED = ("done", "unbalanced", "kept_old")
"""Statuses of a run that has come to its end by itself."""
PACKAGES = ("scenetags", "apache-beam", "ai-edge-litert", "numpy", "pillow", "pyarrow")


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


def new_run_name() -> str:
    """Name a run by the microsecond of its start, so that names sort by age."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.urandom(2).hex()}"


def describe(run: Run, accounts: Accounts, status: str) -> bytes:
    """Write up a run's manifest.

    Args:
      run: the run.
      accounts: of all that it has committed.
      status: how it stands: `running`, or one of `ENDED`; `kept_old` is an overwrite that did not replace.
    """
    now = time.time()
    described = {
        "run": run.name,
        "status": status,
        **vars(accounts),
        "started": _utc(run.started),
        "written": _utc(now),
        "seconds": round(now - run.started, 3),
        "timings": {**run.timings, "tagging": round(now - run.started - sum(run.timings.values()), 3)},
        "options": dict(run.options),
        "bundle": {"path": run.bundle.path, "name": run.bundle.name, "digest": run.bundle.digest},
        "thresholds": dict(zip(run.bundle.labels, run.thresholds, strict=True)),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "machine": {
            "cores": available_cores(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "platform": platform.platform(),
        },
    }
    return json.dumps(described, indent=2).encode()


def read_accounts(manifest: str) -> Accounts:
    """Read the counts back from a run's manifest."""
    described = json.loads(storage.read(manifest))
    return Accounts(**{counted.name: described[counted.name] for counted in fields(Accounts)})


def read_status(manifest: str) -> str:
    """Read from a run's manifest how the run stands."""
    return str(json.loads(storage.read(manifest))["status"])


def mark(manifest: str, status: str) -> None:
    """Write into a run's manifest how the run ended; nothing where it committed nothing."""
    with suppress(FileNotFoundError):
        described = json.loads(storage.read(manifest))
        storage.write(manifest, json.dumps({**described, "status": status}, indent=2).encode())


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

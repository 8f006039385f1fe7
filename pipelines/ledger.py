"""What the output holds: rows of earlier runs, the accounts of this one, and its manifest.

The output is a folder with `predictions/`, `failures/` and `runs/`. A run holds `_lock` while it works, writes its
files into a folder `_staging-<run>` first, and moves them into place when they are whole.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.bundle import Bundle
from pipelines.engines import available_cores

PREDICTIONS, FAILURES, RUNS = "predictions", "failures", "runs"
STAGING, LOCK = "_staging-", "_lock"
PACKAGES = ("scenetags", "apache-beam", "ai-edge-litert", "numpy", "pillow", "pyarrow")


class OutputError(ValueError):
    """An output folder that this run must not or cannot write into."""


@dataclass(frozen=True)
class Run:
    """One run of the job, as all of its steps know it.

    Attributes:
      name: begins with the UTC time of its start, so that names sort by age.
      output: the output folder.
      bundle: the model.
      thresholds: the least probability of a tag, one a label.
      overwrite: whether rows of earlier runs are replaced instead of kept.
      options: what the user asked for, for the manifest.
      started: seconds since the epoch.
    """

    name: str
    output: str
    bundle: Bundle
    thresholds: tuple[float, ...]
    overwrite: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    @property
    def manifest(self) -> str:
        """Path of the run's manifest."""
        return storage.join(self.output, RUNS, f"{self.name}.json")

    @property
    def staging(self) -> str:
        """Folder of files that are not yet whole."""
        return storage.join(self.output, f"{STAGING}{self.name}")


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


class StagedFile(NamedTuple):
    """A whole file that waits to be moved into place.

    Attributes:
      staged: where it is.
      target: where it belongs.
      accounts: counts of its rows.
    """

    staged: str
    target: str
    accounts: Accounts


class Earlier(NamedTuple):
    """What earlier runs have left in an output.

    Attributes:
      tagged: fingerprint of each tagged image, by its path.
      failed: paths of failures.
    """

    tagged: Mapping[str, str]
    failed: frozenset[str]


def new_run_name() -> str:
    """Name a run by the microsecond of its start: the order of names decides which of two rows is newer."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.urandom(2).hex()}"


@contextmanager
def hold_output(run: Run) -> Iterator[None]:
    """Keep other runs out of an output, and remove what a killed run has left unfinished in it.

    Raises:
      OutputError: another run is at work in it, or it cannot be written to.
    """
    owner = f"run {run.name}, process {os.getpid()} on {socket.gethostname()}"
    with ExitStack() as held:
        try:
            # Permissions alone do not tell whether a folder can be written to: read-only mounts and full disks refuse
            # too, and writing the lock finds that out.
            held.enter_context(storage.lock(storage.join(run.output, LOCK), owner))
        except storage.LockedError as error:
            raise OutputError(
                f"output {run.output} is in use ({error}): wait for its end, or choose another --output"
            ) from error
        except OSError as error:
            raise OutputError(f"cannot write into output {run.output}: {error.strerror or error}") from error
        for folder in storage.list_folders(run.output, STAGING):
            storage.delete_folder(folder)
        yield


def check_output(run: Run) -> None:
    """Make sure that a run may write into its output.

    Raises:
      OutputError: the folder holds what another program, another model or other thresholds wrote, and is not to be
        overwritten.
    """
    output = run.output
    for path in _parquet_files(output):
        footer = _read_footer(path)
        if footer is None:
            raise OutputError(f"output {output} holds {path}, which scenetags did not write: choose another --output")
        if run.overwrite:
            continue
        remedy = "choose another --output, or replace them with --overwrite"
        if footer.get("bundle") != run.bundle.digest:
            theirs, ours = str(footer.get("bundle"))[:12], run.bundle.digest[:12]
            raise OutputError(f"output {output} holds rows of another bundle ({theirs}, this one is {ours}): {remedy}")
        if footer.get("thresholds") != list(run.thresholds):
            raise OutputError(f"output {output} holds rows that were tagged with other thresholds: {remedy}")


@lru_cache(maxsize=1)
def read_earlier(output: str, run: str) -> Earlier:
    """Read which images earlier runs than `run` have tagged or failed at; once in a process, for it does not change."""
    tagged: dict[str, str] = {}
    failed: set[str] = set()
    for path in _earlier_files(output, run):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["path", "fingerprint"]):
                names, fingerprints = (batch.column(name).to_pylist() for name in ("path", "fingerprint"))
                if _is_predictions(path):
                    tagged.update(zip(names, fingerprints, strict=True))
                else:
                    failed.update(names)
    return Earlier(tagged, frozenset(failed))


def settle(run: Run) -> None:
    """Leave one row of each image, the newest: a run that was stopped in the middle of a commit has left more."""
    newest: dict[str, str] = {}
    doubled: dict[str, list[str]] = {}
    for path in _earlier_files(run.output, run.name):
        for name in pq.read_table(path, columns=["path"], partitioning=None)["path"].to_pylist():
            if name in newest:
                doubled.setdefault(newest[name], []).append(name)
            newest[name] = path
    for path, names in doubled.items():
        _remove_rows_of_file(run, path, names)


def commit(run: Run, files: Sequence[StagedFile], superseded: Sequence[str]) -> Accounts:
    """Move staged files into place, then remove the earlier rows of the same images.

    In this order a reader may see an image twice for a moment, but never misses it.

    Returns:
      The sum of the files' accounts.
    """
    for file in files:
        storage.move(file.staged, file.target)
    _remove_rows(run, superseded)
    return sum((file.accounts for file in files), Accounts())


def remove_earlier_rows(run: Run) -> None:
    """Delete all that earlier runs have written; for `--overwrite`, once the new rows are in place."""
    storage.delete(_earlier_files(run.output, run.name))


def write_manifest(run: Run, accounts: Accounts, status: str) -> None:
    """Write the run's manifest, replacing an earlier state of it."""
    described = {
        "run": run.name,
        "status": status,
        **vars(accounts),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.started)),
        "seconds": round(time.time() - run.started, 3),
        "options": dict(run.options),
        "bundle": {"path": run.bundle.path, "name": run.bundle.name, "digest": run.bundle.digest},
        "thresholds": dict(zip(run.bundle.labels, run.thresholds, strict=True)),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "machine": {"cores": available_cores(), "platform": platform.platform()},
    }
    storage.write(run.manifest, json.dumps(described, indent=2).encode())


def read_accounts(manifest: str) -> Accounts:
    """Read the counts back from a run's manifest."""
    described = json.loads(storage.read(manifest))
    return Accounts(**{counted.name: described[counted.name] for counted in fields(Accounts)})


def _remove_rows(run: Run, paths: Sequence[str]) -> None:
    if paths:
        for file in _earlier_files(run.output, run.name):
            _remove_rows_of_file(run, file, paths)


def _remove_rows_of_file(run: Run, path: str, names: Sequence[str]) -> None:
    with pq.ParquetFile(path) as file:
        table = file.read()
    kept = table.filter(pc.invert(pc.is_in(table["path"], value_set=pa.array(names, pa.string()))))
    if kept.num_rows == 0:
        storage.delete([path])
    elif kept.num_rows < table.num_rows:
        staged = storage.join(run.staging, os.path.basename(path))
        with storage.create(staged) as file:
            pq.write_table(kept, file, compression="zstd")
        storage.move(staged, path)


def _parquet_files(output: str) -> list[str]:
    folders = (storage.join(output, PREDICTIONS), storage.join(output, FAILURES))
    return [path for folder in folders for path in storage.list_files(folder, ".parquet")]


def _earlier_files(output: str, run: str) -> list[str]:
    """List the files of earlier runs, the oldest first."""
    files = [path for path in _parquet_files(output) if not os.path.basename(path).startswith(run)]
    return sorted(files, key=os.path.basename)


def _is_predictions(path: str) -> bool:
    return os.path.basename(os.path.dirname(path)) == PREDICTIONS


def _read_footer(path: str) -> dict[str, Any] | None:
    try:
        metadata = pq.read_schema(path).metadata or {}
        footer = json.loads(metadata[b"scenetags"])
    except (pa.ArrowException, KeyError, ValueError):
        return None
    return footer if isinstance(footer, dict) else None

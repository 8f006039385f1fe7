"""The manifest of a run: its accounts and how it was made, written last."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from pipelines import storage
from pipelines.inference import shift
from pipelines.inference.reference import read_reference
from pipelines.inference.shift import Shift
from pipelines.output.footers import probability_columns
from pipelines.output.run import Accounts, OutputRun, Run
from pipelines.supervision.machine import available_cores
from pipelines.supervision.packages import version

ENDED = ("done", "unbalanced", "kept_old")
"""Statuses of a run that was not stopped early."""

RECOVERED = "recovered"
"""Status of a run that died, and whose rows another run has committed."""

_MOST_BYTES = 1 << 26
"""Far more than any manifest has; an untrusted file may have any number."""

_UNLIKE = "unlike"
"""Field of a manifest: the comparison for which an overwrite has kept the old rows. It includes the images of earlier
overwrites, whose rows it would have taken over; `shift` does not."""
_ADDED = ("empty", "oversized")

PACKAGES = ("scenetags", "apache-beam", "ai-edge-litert", "numpy", "pillow", "pyarrow")


class Ending(NamedTuple):
    """How a run ended.

    Attributes:
      status: as for `describe`.
      unlike: how the images of an overwrite differ from those that its model was trained on, if it has kept the old
        rows for that.
    """

    status: str
    unlike: Shift | None = None

    @property
    def kept_old(self) -> bool:
        """Whether an overwrite has replaced nothing."""
        return self.status != "done"


def describe(run: Run, accounts: Accounts, status: str) -> bytes:
    """Return the content of a run's manifest, as JSON.

    Args:
      run: the run.
      accounts: of everything it has committed.
      status: `running`, or one of `ENDED`; `kept_old` is an overwrite that did not replace the old rows.
    """
    now = time.time()
    described = {
        "run": run.name,
        "status": status,
        **accounts.counts,
        **_times(run, now),
        "timings": {**run.timings, "tagging": round(now - run.started - sum(run.timings.values()), 3)},
        "options": dict(run.options),
        "bundle": {"path": run.bundle.path, "name": run.bundle.name, "digest": run.bundle.digest},
        **({"engine": run.engine} if run.engine else {}),
        "precision": run.precision,
        "thresholds": dict(zip(run.bundle.labels, run.thresholds, strict=True)),
        **({"rules": run.rules.described()} if run.rules else {}),
        **({"rendering": run.rendering.described()} if run.rendering else {}),
        "shift": shift.describe(run.bundle.reference, accounts.seen),
        **({"reference": run.bundle.reference.described()} if run.bundle.reference else {}),
        "columns": probability_columns(run.bundle.labels),
        **_circumstances(run.engine),
    }
    return json.dumps(described, indent=2).encode()


def describe_done(run: OutputRun, work: Mapping[str, Any]) -> bytes:
    """Return the content of the manifest of a run that has tagged no images, so that its accounts are all 0.

    Args:
      run: of a command that changed the output otherwise.
      work: what it did, as JSON.
    """
    described = {
        "run": run.name,
        "status": "done",
        **Accounts().counts,
        **_times(run, time.time()),
        "options": dict(run.options),
        **work,
        **_circumstances(),
    }
    return json.dumps(described, indent=2).encode()


def describe_recovered(described: Mapping[str, Any], accounts: Accounts) -> bytes:
    """Return the content of the manifest of a dead run whose rows were recovered.

    Args:
      described: what it said so far, or what its manifest would have said.
      accounts: of all of its rows.
    """
    reference = None
    with suppress(ValueError):
        reference = read_reference(described.get("reference"))
    # Nobody knows how long it took.
    known = {name: value for name, value in described.items() if name not in ("seconds", "timings")}
    told = {"status": RECOVERED, **accounts.counts, "written": _utc(time.time())}
    return json.dumps({**known, **told, "shift": shift.describe(reference, accounts.seen)}, indent=2).encode()


def _times(run: OutputRun, now: float) -> dict[str, Any]:
    return {"started": _utc(run.started), "written": _utc(now), "seconds": round(now - run.started, 3)}


def _circumstances(engine: str = "") -> dict[str, Any]:
    packages = (*PACKAGES, *["openvino"] * (engine == "openvino"))
    return {
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "machine": {
            "cores": available_cores(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "platform": platform.platform(),
        },
    }


def read_content(manifest: str) -> dict[str, Any]:
    """Read the content of a run's manifest.

    Raises:
      ValueError: the file is no manifest: not an object of JSON.
      FileTooLargeError: it is larger than any manifest.
      OSError: it cannot be read.
    """
    try:
        content = json.loads(storage.read(manifest, _MOST_BYTES))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("it is not an object of JSON")
    return content


def find_content(manifest: str) -> dict[str, Any] | None:
    """Read the content of a manifest; None if there is none, or the file is no manifest: anybody may have put it there.

    Raises:
      OSError: it cannot be read.
    """
    with suppress(FileNotFoundError, ValueError, storage.FileTooLargeError):
        return read_content(manifest)
    return None


def read_accounts(manifest: str) -> Accounts:
    """Read the counts from a run's manifest."""
    return accounts_of(read_content(manifest))


def accounts_of(described: Mapping[str, Any]) -> Accounts:
    """Extract the counts from the content of a manifest."""
    # Manifests of earlier versions do not have all counts.
    counts = {name: described[name] for name in Accounts().counts if name in described or name not in _ADDED}
    return Accounts(**counts, seen=shift.read_seen(described.get("shift", {})))


def read_status(manifest: str) -> str:
    """Read the status from a run's manifest."""
    return str(read_content(manifest)["status"])


def read_ending(manifest: str) -> Ending:
    """Read from a run's manifest how it ended."""
    described = read_content(manifest)
    unlike = described.get(_UNLIKE)
    return Ending(described["status"], Shift(**{**unlike, "respects": tuple(unlike["respects"])}) if unlike else None)


def mark_unlike(manifest: str, unlike: Shift) -> None:
    """Write to an overwrite's manifest that it has kept the old rows, since its images differ so."""
    mark(manifest, "kept_old", {_UNLIKE: unlike.described()})


def mark(manifest: str, status: str, further: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write the status to a run's manifest; do nothing if the run has committed nothing.

    Args:
      manifest: its path.
      status: as for `describe`.
      further: what else to write, as JSON.
    """
    with suppress(FileNotFoundError):
        described = read_content(manifest)
        storage.write(manifest, json.dumps({**described, "status": status, **further}, indent=2).encode())


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

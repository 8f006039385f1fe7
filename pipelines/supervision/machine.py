"""The machine that this process runs on: its cores, and the messages of native libraries about it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Count the cores that this process may keep busy: those it may run on, or fewer if a container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> float | None:
    """Return the CPU time that the control groups of this process allow, in cores; None if they set no limit.

    Source: `cpu.max` in the kernel's Documentation/admin-guide/cgroup-v2.rst, and `cpu.cfs_quota_us` of version 1 in
    Documentation/scheduler/sched-bwc.rst. A group is also limited by all groups above it.

    Args:
      cgroups: mount point of the hierarchy.
      own: file that names the groups of this process.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = cgroups if not controllers else cgroups / "cpu"
        # In a container, the path may be the host's, of which only the root is mounted.
        for part in (PurePosixPath(group), *PurePosixPath(group).parents):
            quotas += _read_quota(mounted / part.relative_to("/"))
    return min(quotas, default=None)


@contextmanager
def native_messages_muted() -> Iterator[None]:
    """Drop what native code writes to standard error, bypassing Python and any logging level.

    LiteRT and TensorFlow print a greeting there at every start. Errors they raise are not dropped.
    """
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _read_quota(folder: Path) -> list[float]:
    """Read the quota of one control group, in cores; empty if it has none."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return [int(quota) / int(period)] if int(quota) > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        # `max` is not a number, and means no limit.
        return []

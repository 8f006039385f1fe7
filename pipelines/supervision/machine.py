"""The machine that this process runs on: its cores, its memory, and the messages of native libraries about it."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")

STANDARD_ERROR = 2
"""Its descriptor."""


def available_cores() -> int:
    """Count the cores that this process may keep busy: those it may run on, or fewer if a container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> float | None:
    """Return the CPU time that the control groups of this process allow, in cores; None if they set no limit.

    Source: `cpu.max` in the kernel's Documentation/admin-guide/cgroup-v2.rst, and `cpu.cfs_quota_us` of version 1 in
    Documentation/scheduler/sched-bwc.rst.

    Args:
      cgroups: mount point of the hierarchy.
      own: file that names the groups of this process.
    """
    return min((quota for folder in _groups("cpu", cgroups, own) for quota in _read_quota(folder)), default=None)


def usable_memory(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return the bytes of memory that this process may use: the machine's, or a limit of its container or `ulimit -v`.

    Source: `memory.max` in the kernel's Documentation/admin-guide/cgroup-v2.rst, and `memory.limit_in_bytes` of
    version 1 in Documentation/admin-guide/cgroup-v1/memory.rst.

    Args:
      cgroups: mount point of the hierarchy.
      own: file that names the groups of this process.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limits += (limit for folder in _groups("memory", cgroups, own) for limit in _read_limit(folder))
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        # Libraries reserve far more address space than they use, and none of that is left for anything else.
        limits.append(max(1, address_space - _address_space()))
    return min(limits)


def return_freed_memory() -> None:
    """Return to the system what the C library keeps of freed memory.

    It keeps up to 64 MB per thread that has decoded an image, and several per core: gigabytes, of which the next image,
    in another thread, gets nothing.
    """
    library = ctypes.CDLL(None)
    # Only glibc has it, and only glibc needs it.
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


class _StandardError:
    """Standard error, which several threads may have muted at the same time.

    Attributes:
      used: held while it is written to, muted, or restored. A signal handler may write while its thread holds it.
      muters: number of those who want it muted.
      duplicate: descriptor of the place to which it led when it was last muted; None before that. It is never closed:
        the next file that is opened would get its number.
    """

    def __init__(self) -> None:
        self.used = threading.RLock()
        self.muters = 0
        self.duplicate: int | None = None

    def mute(self) -> None:
        if self.duplicate is None:
            self.duplicate = os.dup(STANDARD_ERROR)
        else:
            os.dup2(STANDARD_ERROR, self.duplicate, inheritable=False)
        with open(os.devnull, "wb") as nowhere:
            # From here on, a signal handler writes to the duplicate.
            self.muters = 1
            os.dup2(nowhere.fileno(), STANDARD_ERROR)

    def restore(self) -> None:
        assert self.duplicate is not None
        os.dup2(self.duplicate, STANDARD_ERROR)
        self.muters = 0


_standard_error = _StandardError()


@contextmanager
def standard_error() -> Iterator[int]:
    """Yield a descriptor that leads to standard error also while native messages are muted, as long as it is needed."""
    state = _standard_error
    with state.used:
        yield state.duplicate if state.muters and state.duplicate is not None else STANDARD_ERROR


@contextmanager
def native_messages_muted() -> Iterator[None]:
    """Drop what native code writes to standard error, bypassing Python and any logging level.

    LiteRT and TensorFlow print a greeting there at every start. Errors they raise are not dropped, and our own messages
    go to `standard_error`.
    """
    state = _standard_error
    with state.used:
        if state.muters:
            state.muters += 1
        else:
            state.mute()
    try:
        yield
    finally:
        with state.used:
            if state.muters > 1:
                state.muters -= 1
            else:
                state.restore()


def _groups(controller: str, cgroups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of the control groups with this controller: those of this process, and all groups above them.

    A group is also limited by all groups above it.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 1 mounts controllers together, as `cpu,cpuacct`, mostly with a link for each, but not always.
        mounts = dict.fromkeys((controller, controllers)) if controllers else ("",)
        # In a container, the path may be the host's, of which only the root is mounted.
        for part in (PurePosixPath(group), *PurePosixPath(group).parents):
            yield from (cgroups / mount / part.relative_to("/") for mount in mounts)


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


def _read_limit(folder: Path) -> list[int]:
    """Read the memory limit of one control group, in bytes; empty if it has none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return [int((folder / name).read_text())]
        except (OSError, ValueError):
            # `max` is not a number, and means no limit.
            continue
    return []


def _address_space() -> int:
    """Return the bytes of address space that this process has reserved; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0

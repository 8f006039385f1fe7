"""Run a command and measure its time, and the processor time and peak memory of all its processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_SAMPLES_PER_SECOND = 2
_PATIENCE = 30.0


class CommandError(RuntimeError):
    """A command that failed or hung; the message contains the end of its output."""


class Finished(NamedTuple):
    """The cost of a command.

    Attributes:
      seconds: from its start to its end.
      core_seconds: processor time of the process and its descendants.
      peak_bytes: peak resident memory of the process and its descendants.
    """

    seconds: float
    core_seconds: float
    peak_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, limit: float = 900) -> Finished:
    """Run a command to its end.

    Args:
      command: program and arguments.
      environment: of the process.
      log: receives its output.
      limit: seconds after which it is killed.

    Raises:
      CommandError: it ended with a nonzero exit code, or not in time.
    """
    with log.open("wb") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        tree = _Tree(process.pid)
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            seconds = time.perf_counter() - began
            timer.cancel()
            tree.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        reason = f"did not end within {limit:g} s" if seconds >= limit else f"ended with exit code {process.returncode}"
        said_last = log.read_text(errors="replace").strip()[-2000:]
        raise CommandError(f"{reason}: {' '.join(command)}\n{said_last}")
    # The first leaves out descendants that the process did not wait for, and the second what each did last.
    core_seconds = max(usage.ru_utime + usage.ru_stime, tree.core_seconds)
    return Finished(seconds, core_seconds, max(usage.ru_maxrss * 1024, tree.peak_bytes))


class _Tree:
    """Sampler of the memory and the processor time of a process and its descendants, if psutil is installed.

    Shared memory is counted once, as the largest shared part of any process: that may be too low, but a sum would count
    Ray's object store once per worker.
    """

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._seen: dict[int, Any] = {}
        self._core_seconds: dict[int, float] = {}
        self._thread: threading.Thread | None = None
        if importlib.util.find_spec("psutil"):
            self._thread = threading.Thread(target=self._sample, args=(pid,), daemon=True)
            self._thread.start()

    @property
    def core_seconds(self) -> float:
        """Sum of the processor time of all processes, as seen last."""
        return sum(self._core_seconds.values())

    def close(self) -> None:
        """Stop sampling, and kill processes that outlive the command: they would disturb the next measurement."""
        self._ended.set()
        if self._thread:
            self._thread.join()
        if self._seen:
            import psutil

            _, alive = psutil.wait_procs(list(self._seen.values()), timeout=_PATIENCE)
            for process in alive:
                process.kill()

    def _sample(self, pid: int) -> None:
        import psutil

        try:
            root = psutil.Process(pid)
            while not self._ended.wait(1 / _SAMPLES_PER_SECOND):
                descendants = root.children(recursive=True)
                self._seen.update((process.pid, process) for process in descendants)
                self.peak_bytes = max(self.peak_bytes, _resident([root, *descendants]))
                for process in (root, *descendants):
                    with suppress(psutil.NoSuchProcess):
                        self._core_seconds[process.pid] = sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            return


def _resident(processes: Sequence[Any]) -> int:
    import psutil

    private, shared = 0, [0]
    for process in processes:
        try:
            memory = process.memory_info()
        except psutil.NoSuchProcess:
            continue
        part = getattr(memory, "shared", 0)  # only reported on Linux
        private += memory.rss - part
        shared.append(part)
    return private + max(shared)

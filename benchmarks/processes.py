"""Run a command, and measure its time and the peak memory of all its processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_SAMPLES_A_SECOND = 2
_PATIENCE = 30.0


class CommandError(RuntimeError):
    """A command that failed or hung; the message has the end of what it said."""


class Finished(NamedTuple):
    """What a command cost.

    Attributes:
      seconds: from its start to its end.
      peak_bytes: resident memory at its highest, of the process and all that it started.
    """

    seconds: float
    peak_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, limit: float = 900) -> Finished:
    """Run a command to its end.

    Args:
      command: program and arguments.
      environment: of the process.
      log: gets what it says.
      limit: seconds after which it is ended.

    Raises:
      CommandError: it ended with another code than 0, or did not end in time.
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
        reason = "did not end in time" if seconds >= limit else f"ended with code {process.returncode}"
        said_last = log.read_text(errors="replace").strip()[-2000:]
        raise CommandError(f"{reason}: {' '.join(command)}\n{said_last}")
    return Finished(seconds, max(usage.ru_maxrss * 1024, tree.peak_bytes))


class _Tree:
    """The memory of a process and its descendants, sampled; of the process alone where psutil is not installed.

    What processes share is counted once, as the largest part that one of them shares: less than it may be, but a sum
    would count Ray's object store once a worker.
    """

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._seen: dict[int, Any] = {}
        self._thread: threading.Thread | None = None
        if importlib.util.find_spec("psutil"):
            self._thread = threading.Thread(target=self._sample, args=(pid,), daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop sampling, and let no process outlive the command: it would disturb whoever comes next."""
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
            while not self._ended.wait(1 / _SAMPLES_A_SECOND):
                descendants = root.children(recursive=True)
                self._seen.update((process.pid, process) for process in descendants)
                self.peak_bytes = max(self.peak_bytes, _resident([root, *descendants]))
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
        part = getattr(memory, "shared", 0)  # only Linux tells it apart
        private += memory.rss - part
        shared.append(part)
    return private + max(shared)

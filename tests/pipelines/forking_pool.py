"""A pool of Beam's workers that are forked from a process which has imported all that they need.

Beam's own pool starts a Python for each worker, which takes two seconds to import Beam; a test of what a job does on
other processes waits for several. These share as little with the process that launches a job, and begin at once.
`test_workers.py` is about workers themselves, and takes Beam's own pool.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

ENVIRONMENT = Path("../environment.json")
"""File with the variables that workers have from now on, next to the folder in which the pool works."""


class Nursery:
    """A process with the workers' imports and nothing else, which forks one for each program that it is given."""

    def __init__(self) -> None:
        """Fork it from this process, which has no thread and no server yet."""
        programs, told = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(programs[1])
            os.close(told[0])
            _bear(os.fdopen(programs[0]), told[1])
        os.close(programs[0])
        os.close(told[1])
        self._programs: IO[str] = os.fdopen(programs[1], "w", buffering=1)
        self._told: IO[str] = os.fdopen(told[0])
        self._lock = threading.Lock()

    def start(self, program: str) -> int:
        """Fork a worker that runs a program, and give its process id."""
        with self._lock:
            self._programs.write(json.dumps(program) + "\n")
            return int(self._told.readline())


class Worker:
    """A worker, with as much of `subprocess.Popen` as Beam's pool uses."""

    nursery: Nursery

    def __init__(self, command: list[str], **_: Any) -> None:
        """Start what is a `python -c PROGRAM`."""
        self._pid = self.nursery.start(command[2])

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> None:
        end = time.monotonic() + timeout if timeout else None
        while Path(f"/proc/{self._pid}").exists():
            if end and time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout or 0)
            time.sleep(0.01)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


def _bear(programs: IO[str], told: int) -> None:
    """Fork a worker for each line that comes in, until there are no more."""
    import pipelines.inference.engines
    import pipelines.job.pipeline
    import pipelines.output.commit  # noqa: F401

    # Nobody waits for the workers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in programs:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            programs.close()
            os.close(told)
            if ENVIRONMENT.exists():
                os.environ.update(json.loads(ENVIRONMENT.read_text()))
            try:
                exec(json.loads(line), {"__name__": "__main__"})
            finally:
                os._exit(0)
        os.write(told, f"{child}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    Worker.nursery = Nursery()
    from apache_beam.runners.worker import worker_pool_main

    worker_pool_main.subprocess = SimpleNamespace(Popen=Worker, PIPE=None, TimeoutExpired=subprocess.TimeoutExpired)
    worker_pool_main.main(sys.argv)

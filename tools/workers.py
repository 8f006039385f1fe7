"""Run Beam's portable runner on loopback: a job service, and a worker pool that shares nothing with this process.

Workers inherit nothing: they get an empty working folder, a minimal environment, and the package. This shows what a
cluster would show: everything that a job needs from the launching process must be part of the job.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tools.emulators import free_port

ROOT = Path(__file__).resolve().parents[1]

SECONDS_TO_START = 60


class Server(NamedTuple):
    """A Beam server.

    Attributes:
      host: host and port.
      log: output of the server and of all processes it has started.
      group: number of its process, and of the group of all processes it has started.
    """

    host: str
    log: Path
    group: int

    @property
    def tail(self) -> str:
        """The last lines of its log."""
        return f"{self.log}:\n{self.log.read_text(errors='replace')[-3000:]}"


class Cluster(NamedTuple):
    """A job service and its worker pool."""

    jobs: Server
    workers: Server

    @property
    def flags(self) -> tuple[str, ...]:
        """Beam flags that submit a job to this cluster."""
        workers = "--environment_type=EXTERNAL", f"--environment_config={self.workers.host}"
        return ("--runner=PortableRunner", f"--job_endpoint={self.jobs.host}", *workers)

    @property
    def started(self) -> int:
        """Number of workers that the pool has started."""
        return self.workers.log.read_text().count("Starting worker with command")


@contextlib.contextmanager
def job_service(folder: Path, workers: int = 1) -> Iterator[Server]:
    """Run a job service, without access to what our package does.

    Args:
      folder: for its log and its working folder; created if missing.
      workers: that a job requests.
    """
    # Without a limit to its arenas, malloc keeps twice the memory that passes through the service's threads.
    variables = {"PYTHONPATH": str(ROOT), "WORKERS": str(workers), "MALLOC_ARENA_MAX": "2"} if workers > 1 else {}
    module = "tools.parallel_jobs" if workers > 1 else "apache_beam.runners.portability.local_job_service_main"
    with _serving(module, "--port", folder, variables) as server:
        yield server


@contextlib.contextmanager
def worker_pool(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    package: Path = ROOT,
    module: str = "apache_beam.runners.worker.worker_pool_main",
) -> Iterator[Server]:
    """Run a worker pool, which starts a process for each worker that a job requests.

    Args:
      folder: for its log and the workers' working folder; created if missing.
      environment: variables of the workers, in addition to the minimum they need.
      package: folder with the package that they import.
      module: that runs the pool.
    """
    variables = {"PYTHONPATH": str(package), **(environment or {})}
    with _serving(module, "--service_port", folder, variables) as server:
        yield server


@contextlib.contextmanager
def _serving(module: str, flag: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run a Beam server in an empty folder, and end it with all processes it has started."""
    place = folder / "empty"
    place.mkdir(parents=True)
    port, log_file = free_port(), folder / "log.txt"
    # The pool starts its workers with the `python` on its PATH.
    least = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}", "HOME": str(place)}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, f"{flag}={port}"],
            cwd=place,
            env={**least, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(f"localhost:{port}", log_file, process.pid)
    try:
        _wait_for(process, port, server)
        yield server
    finally:
        # Its workers are in its process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, server: Server) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no server responds at {server.host}; {server.tail}")

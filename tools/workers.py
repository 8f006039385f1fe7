"""Beam's portable runner on loopback: a job service, and a pool of workers that share nothing with this process.

What a worker has is chosen here and inherited from nobody: an empty folder to work in, its environment, and the
installation of the package. That shows what a cluster would show: whatever a job needs of the process that launches it
must be in the job.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.emulators import free_port

ROOT = Path(__file__).resolve().parents[1]

SECONDS_TO_START = 60


class Cluster(NamedTuple):
    """A job service and its workers.

    Attributes:
      jobs: host and port of the job service.
      workers: host and port of the pool.
      log: what the workers' pool has written.
    """

    jobs: str
    workers: str
    log: Path

    @property
    def flags(self) -> tuple[str, ...]:
        """Beam's flags that send a job there."""
        where = f"--job_endpoint={self.jobs}", "--environment_type=EXTERNAL", f"--environment_config={self.workers}"
        return ("--runner=PortableRunner", *where)


@contextlib.contextmanager
def cluster(
    folder: Path, environment: Mapping[str, str] | None = None, package: Path = ROOT, jobs: str | None = None
) -> Iterator[Cluster]:
    """Run a pool of workers, and a job service if there is none yet.

    Args:
      folder: for logs and working directories; made if need be.
      environment: variables that workers have beside the least that they need.
      package: folder that holds the package which workers import.
      jobs: host and port of a job service that runs already.
    """
    with contextlib.ExitStack() as running:
        jobs = jobs or running.enter_context(job_service(folder))
        workers, log = running.enter_context(worker_pool(folder, environment, package))
        yield Cluster(jobs, workers, log)


@contextlib.contextmanager
def job_service(folder: Path) -> Iterator[str]:
    """Run a job service, which needs nothing of the package; give its host and port."""
    host = f"localhost:{free_port()}"
    command = ["-m", "apache_beam.runners.portability.local_job_service_main", f"--port={host.partition(':')[2]}"]
    with _serving(command, host, folder / "jobs", {}):
        yield host


@contextlib.contextmanager
def worker_pool(
    folder: Path, environment: Mapping[str, str] | None = None, package: Path = ROOT
) -> Iterator[tuple[str, Path]]:
    """Run a pool that starts a process for each worker that a job asks for; give its host and port, and its log."""
    host = f"localhost:{free_port()}"
    command = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={host.partition(':')[2]}"]
    variables = {"PYTHONPATH": str(package), **(environment or {})}
    with _serving(command, host, folder / "workers", variables) as log:
        yield host, log


@contextlib.contextmanager
def _serving(command: Sequence[str], host: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Run a server of Beam's in an empty folder, until its end and that of all that it has started; give its log."""
    place = folder / "empty"
    place.mkdir(parents=True)
    log = folder / "log.txt"
    # The pool starts its workers with the `python` that it finds.
    least = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}", "HOME": str(place)}
    with log.open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, *command],
            cwd=place,
            env={**least, **environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            _wait_for(server, host, log)
            yield log
        finally:
            # Its workers are in its process group.
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_for(server: subprocess.Popen[bytes], host: str, log: Path) -> None:
    name, _, port = host.partition(":")
    end = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((name, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no server answers at {host}; it said:\n{log.read_text(errors='replace')[-3000:]}")

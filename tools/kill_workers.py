"""Kill processes of a distributed job while it merges and commits its files: `python -m tools.kill_workers`.

The output is in an emulated bucket, and a proxy sees every request: at one of them, from the first merged file to the
end of the commit, the launching process is killed, or the workers, or both. Then the same images are tagged by a local
run. What a reader may see is checked as in `tools.output_checks`, right after the kill and after that run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pipelines.output.run import MERGED, STAGING
from tools import disturb_buckets, emulators, kill_runs, output_checks
from tools.output_checks import Archive, BrokenGuaranteeError
from tools.proxy import Disturbance, Proxy, before
from tools.workers import Cluster, Server, job_service, worker_pool

VICTIMS = ("launcher", "workers", "both")
_SECONDS_OF_A_JOB = 300.0
_SECONDS_WITHOUT_WORKERS = 15.0
"""Beam's own job service waits forever for a worker that is gone; the process that started the job gives it up."""


class Place(NamedTuple):
    """Where jobs write, and who sees it.

    Attributes:
      bucket: path.
      proxy: through which everybody reaches it.
      folder: on this machine, for the logs of servers.
      environment: variables with which workers reach the bucket.
    """

    bucket: str
    proxy: Proxy
    folder: Path
    environment: dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill jobs, print a line for each, and return 1 if a guarantee was broken."""
    options = _parse(arguments)
    work = Path(tempfile.mkdtemp(prefix="kill_workers-"))
    broken = 0
    try:
        with emulators.amazon() as emulator, before(emulator.host) as proxy:
            environment = emulators.environment(emulator.scheme, proxy.host)
            os.environ.update(environment)
            place = Place(emulator.bucket, proxy, work, environment)
            archive = kill_runs.prepare(options, work)
            count = _count_requests(archive, place)
            print(f"undisturbed: {count} requests from the first merged file on", flush=True)
            for number in range(options.times):
                victim, moment = VICTIMS[number % len(VICTIMS)], 1 + number * count // options.times
                try:
                    print(f"{number + 1:3}  {kill(archive, place, number, victim, moment)}", flush=True)
                except BrokenGuaranteeError as error:
                    broken += 1
                    print(f"{number + 1:3}  BROKEN, {victim} at request {moment}: {error}", flush=True)
    finally:
        if not broken:
            shutil.rmtree(work)
    print(f"{options.times - broken} of {options.times} killed jobs passed" + (f"; see {work}" if broken else ""))
    return 1 if broken else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.kill_workers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images; not modified")
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--times", type=int, default=12, help="jobs to kill, spread over the requests (default 12)")
    options = parser.parse_args(arguments)
    # Of `kill_runs.prepare`.
    options.scenario, options.seed, options.checkpoint_every, options.precision = "fresh", 1, 500, "float32"
    return options


def kill(archive: Archive, place: Place, number: int, victim: str, moment: int) -> str:
    """Kill a job at a request, and see what it leaves."""
    output = f"{place.bucket}/output-{number}"
    with _submitted(archive, place, output) as (job, pool):
        struck = threading.Event()

        def strike() -> None:
            struck.set()
            if victim != "launcher":
                _kill_workers(pool)
            if victim != "workers":
                job.kill()

        with _at_request(place.proxy, moment, strike):
            while job.poll() is None and not struck.wait(0.1):
                pass
            _wait(job, _SECONDS_WITHOUT_WORKERS)
        seen = _look(archive, output)
        # While workers that have lost their launching process may still be at work.
        again = subprocess.run(
            [*_command(archive), f"--output={output}"], capture_output=True, text=True, timeout=_SECONDS_OF_A_JOB
        )
    if again.returncode:
        raise BrokenGuaranteeError(f"the next run ended with exit code {again.returncode}: {again.stderr}")
    with tempfile.TemporaryDirectory() as copy:
        fetched = disturb_buckets.fetch(output, Path(copy))
        for late in fetched.glob(f"{STAGING}*"):
            # Workers without a launching process may write on; what they write is never committed.
            shutil.rmtree(late)
        output_checks.judge(archive, fetched)
    said = next((line for line in again.stderr.splitlines() if "recovered" in line), "nothing to recover")
    at = f"killed at request {moment}" if struck.is_set() else f"left alone, as there was no request {moment}"
    return f"{victim} {at}, exit code {job.returncode}: {seen} rows visible, then correct; {said}"


def _look(archive: Archive, output: str) -> int:
    """Check what a reader may see, who begins again if a file is moved while the output is read."""
    while True:
        with tempfile.TemporaryDirectory() as copy, suppress(FileNotFoundError):
            return output_checks.look(archive, disturb_buckets.fetch(output, Path(copy)))


def _count_requests(archive: Archive, place: Place) -> int:
    """Return the number of requests of an undisturbed job, from the first merged file to its end."""
    output, reached = f"{place.bucket}/undisturbed", 0

    def count(number: int) -> None:
        nonlocal reached
        reached = number

    undisturbed, place.proxy.disturb = place.proxy.disturb, _counting(count)
    with _submitted(archive, place, output) as (job, pool):
        _wait(job, _SECONDS_OF_A_JOB)
    place.proxy.disturb = undisturbed
    if job.returncode or not reached:
        said = (place.folder / "undisturbed" / "job.txt").read_text()
        raise SystemExit(f"kill_workers: the undisturbed job ended with {job.returncode}: {said}; {pool.tail}")
    return reached


def _counting(count: Callable[[int], None]) -> Callable[[str, str], Disturbance]:
    """Number the requests from the first one that writes a merged file on, but for those of the lock."""
    numbering = threading.Lock()
    reached = 0

    def disturb(method: str, path: str) -> Disturbance:
        nonlocal reached
        with numbering:
            begins = method == "PUT" and f"/{MERGED}/" in path
            if (reached or begins) and "_lock" not in path:
                reached += 1
                count(reached)
        return Disturbance()

    return disturb


@contextmanager
def _at_request(proxy: Proxy, moment: int, strike: Callable[[], None]) -> Iterator[None]:
    undisturbed = proxy.disturb
    proxy.disturb = _counting(lambda number: strike() if number == moment else None)
    try:
        yield
    finally:
        proxy.disturb = undisturbed


@contextmanager
def _submitted(archive: Archive, place: Place, output: str) -> Iterator[tuple[subprocess.Popen[bytes], Server]]:
    """Run a job on two workers of its own."""
    folder = place.folder / output.rpartition("/")[2]
    with job_service(folder / "jobs", workers=2) as jobs, worker_pool(folder / "pool", place.environment) as pool:
        flags = [f"--output={output}", *Cluster(jobs, pool).flags]
        with (folder / "job.txt").open("wb") as said:
            job = subprocess.Popen([*_command(archive), *flags], stdout=said, stderr=said)
        try:
            yield job, pool
        finally:
            job.kill()
            job.wait()


def _command(archive: Archive) -> list[str]:
    return [word for word in archive.command if not word.startswith(("--output", "--checkpoint_every"))]


def _wait(job: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        job.wait(seconds)
    except subprocess.TimeoutExpired:
        job.send_signal(signal.SIGKILL)
        job.wait()


def _kill_workers(pool: Server) -> None:
    """Kill the processes that a pool has started, but not the pool."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            number = int(folder.name)
            if number != pool.group and os.getpgid(number) == pool.group:
                os.kill(number, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

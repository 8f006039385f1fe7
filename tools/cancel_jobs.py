"""Cancel a job on Flink at random moments, and start it again each time: `python -m tools.cancel_jobs`.

One output is filled by a job that is cancelled again and again, until one of them gets to its end; then another output
follows. Every other job loses its launching process instead: it is killed, and the next one starts while the workers of
the last one may still be writing. Of the images that were staged when a job was cancelled, those whose rows the next
job has tagged again are counted. The rows of each output must be those of an undisturbed local run, bit for bit.

The variable SCENETAGS_FLINK names the folder in which `make test-flink` has put Flink.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output.run import PREDICTIONS, STAGING, TABLES
from pipelines.output.tables import count_rows
from tools.flink import FlinkCluster, Parts, flink_cluster
from tools.output_checks import read_rows

_SECONDS_TO_END = 1800

_ENDED = ("CANCELED", "FAILED", "FINISHED")
"""States of a job of Flink's that occupies no slots any more."""


class Job(NamedTuple):
    """What is tagged.

    Attributes:
      command: without its output and without flags of a cluster.
      expected: rows of an undisturbed run, by table.
    """

    command: Sequence[str]
    expected: dict[str, pa.Table]


class Cancelled(NamedTuple):
    """A job that was cancelled.

    Attributes:
      run: its name; empty if it had staged nothing.
      staged: paths of the images whose rows were in complete files.
    """

    run: str
    staged: frozenset[str]


class BrokenGuaranteeError(AssertionError):
    """Rows were lost, duplicated or wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Cancel jobs, print a line for each, and return 1 if a guarantee was broken."""
    options = _parse(arguments)
    work = Path(tempfile.mkdtemp(prefix="cancel_jobs-"))
    job = prepare(options, work)
    random = Random(options.seed)
    staged = again = cancelled = outputs = 0
    parts = Parts.under(Path(os.environ["SCENETAGS_FLINK"]).resolve())
    while cancelled < options.times:
        output = work / f"output-{outputs}"
        # A cancelled job leaves memory of its task managers occupied: after some, the next job hangs.
        with flink_cluster(parts, work / f"flink-{outputs}") as cluster:
            jobs = list(fill(cluster, job, output, random, options.times - cancelled))
        outputs += 1
        rows = check(job, output)
        made_anew = {one.run: sum(rows[path] != one.run for path in one.staged) for one in jobs if one.run}
        cancelled += len(jobs)
        staged += sum(len(one.staged) for one in jobs)
        again += sum(made_anew.values())
        print(
            f"output {outputs}: {len(jobs)} jobs cancelled, then correct: {len(rows):,} rows, "
            f"{sum(made_anew.values()):,} tagged again",
            flush=True,
        )
    print(f"{cancelled} jobs cancelled: {staged:,} images were staged, {again:,} of them were tagged again")
    shutil.rmtree(work)
    return 1 if again > 0.05 * staged else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.cancel_jobs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images; not modified")
    parser.add_argument("--copies", type=int, default=1, help="of each image (default 1)")
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--times", type=int, default=20, help="jobs to cancel (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the moments (default 1)")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace, work: Path) -> Job:
    """Link the images, with some that are damaged, and do the undisturbed run."""
    for number in range(options.copies):
        folder = work / "images" / str(number)
        folder.mkdir(parents=True)
        for path in options.images.iterdir():
            (folder / path.name).hardlink_to(path)
        for name in range(10):
            (folder / f"damaged {name}.jpg").write_bytes(b"no image")
    command = [sys.executable, "-m", "pipelines.predict", f"--input={work / 'images'}", f"--model={options.model}"]
    command += ["--max_failure_rate=1", "--progress=off"]
    undisturbed = work / "undisturbed"
    began = time.monotonic()
    subprocess.run([*command, f"--output={undisturbed}"], check=True, stdout=subprocess.DEVNULL)
    rows = read_rows(undisturbed)
    counts = {table: found.num_rows for table, found in rows.items()}
    print(f"undisturbed local run: {time.monotonic() - began:.1f} s, rows {counts}", flush=True)
    return Job(command, rows)


def fill(cluster: FlinkCluster, job: Job, output: Path, random: Random, times: int) -> Iterator[Cancelled]:
    """Run jobs into an output until one ends by itself, and cancel all before it, but not more than so many."""
    command = [*job.command, f"--output={output}", *cluster.flags]
    images = job.expected[PREDICTIONS].num_rows
    staged = Cancelled("", frozenset())
    for number in range(times + 1):
        before = set(output.glob(f"{STAGING}*"))
        with output.with_name(f"{output.name}.log").open("ab") as log:
            running = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        left = images - sum(count_rows(str(path)) for path in (output / PREDICTIONS).glob("*.parquet"))
        # The job is about to commit those.
        left = max(0, left - len(staged.staged))
        # One whose launching process was killed may have committed all rows: nothing is left that could be lost.
        disturbed = left and number < times
        if _ended_before(running, output, before, random.randint(0, left) if disturbed else None):
            if running.returncode:
                raise BrokenGuaranteeError(f"the job ended with exit code {running.returncode}: see {output}.log")
            return
        if number % 2:
            told = "its launching process was killed"
            os.killpg(running.pid, signal.SIGKILL)
            # Not at once: the workers write on while the next job recovers what they have written.
            staged = look(output, before)
            _cancel_later(cluster)
            running.wait()
        else:
            told = "it was cancelled"
            # A job that a shell runs in the background, and all that it starts, ignores SIGINT.
            os.killpg(running.pid, signal.SIGTERM)
            if not running.wait():
                # It was about to end.
                return
            _cancel(cluster)
            staged = look(output, before)
        print(f"{number + 1:3}  {told}: {len(staged.staged):,} of {left:,} images staged", flush=True)
        yield staged
    raise BrokenGuaranteeError("the job that nobody cancelled did not end")


def _ended_before(running: subprocess.Popen[bytes], output: Path, before: Collection[Path], images: int | None) -> bool:
    """Wait until a job has staged so many images, and return whether it ended before.

    Raises:
      BrokenGuaranteeError: it hangs.
    """
    latest = time.monotonic() + _SECONDS_TO_END
    while running.poll() is None:
        if time.monotonic() > latest:
            raise BrokenGuaranteeError(f"the job has not ended after {_SECONDS_TO_END} s")
        folder = _staging(output, before)
        if images is not None and folder and len(_staged_in(folder)) >= images:
            # A little more of what is not in a complete file.
            time.sleep(1)
            return False
        time.sleep(0.5)
    return True


def _staging(output: Path, before: Collection[Path]) -> Path | None:
    """Return the staging folder of a job that has announced itself, but none of those that were there before it."""
    return next((path for path in set(output.glob(f"{STAGING}*")) - set(before) if (path / "run.json").exists()), None)


def _staged_in(folder: Path) -> frozenset[str]:
    """Return the paths of the predictions in complete files."""
    staged: set[str] = set()
    for path in (folder / PREDICTIONS).glob("*.parquet"):
        # Others are not complete.
        with suppress(pa.ArrowInvalid, OSError):
            staged.update(pq.read_table(path, columns=["path"], partitioning=None)["path"].to_pylist())
    return frozenset(staged)


def _cancel(cluster: FlinkCluster) -> None:
    """Cancel the last job of a cluster, and wait for its end.

    Beam's job server calls a batch job cancelled, but lets it run on.
    """
    job = cluster.last_job()
    # One that has ended is refused.
    with suppress(HTTPError):
        urlopen(Request(f"http://{cluster.rest}/jobs/{job}?mode=cancel", method="PATCH"), timeout=10).close()
    while cluster.ask(f"/jobs/{job}")["state"] not in _ENDED:
        time.sleep(0.2)


def _cancel_later(cluster: FlinkCluster) -> None:
    """Cancel the last job of a cluster in a while, from another process."""
    url = f"http://{cluster.rest}/jobs/{cluster.last_job()}?mode=cancel"
    code = f"import time, urllib.request as r; time.sleep(12); r.urlopen(r.Request({url!r}, method='PATCH'))"
    subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def look(output: Path, before: Collection[Path]) -> Cancelled:
    """Read which predictions a cancelled job has staged in complete files; failures are tried again in any case."""
    folder = _staging(output, before)
    return Cancelled(folder.name.removeprefix(STAGING), _staged_in(folder)) if folder else Cancelled("", frozenset())


def check(job: Job, output: Path) -> dict[str, str]:
    """Compare an output with the undisturbed run, and return the run that has made each row.

    Raises:
      BrokenGuaranteeError: they differ.
    """
    for table, found in read_rows(output).items():
        if not found.equals(job.expected[table]):
            raise BrokenGuaranteeError(f"rows of {table} in {output} differ from those of the undisturbed run")
    left = [path.name for path in output.iterdir() if path.name.startswith("_")]
    if left:
        raise BrokenGuaranteeError(f"left behind: {', '.join(left)}")
    rows: dict[str, str] = {}
    for table in TABLES:
        for path in (output / table).glob("*.parquet"):
            found = pq.read_table(path, columns=["path", "run"], partitioning=None)
            rows |= dict(zip(found["path"].to_pylist(), found["run"].to_pylist(), strict=True))
    return rows


if __name__ == "__main__":
    sys.exit(main())

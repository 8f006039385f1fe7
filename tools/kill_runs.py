"""Disrupt runs and check that no row is lost, duplicated or wrong: `python -m tools.kill_runs`.

Each run is killed after a share of the time for which it is at work on its output, as its lock there shows: to start
Python takes longer than a short run does. After each disrupted run the same command is run again. The rows visible to a
reader are checked twice: right after the disruption, and after the command has finished, when they must be those of an
undisturbed run, bit for bit.

Scenarios:
  fresh      SIGKILL while an empty output is filled
  changed    SIGKILL while rows of changed and repaired images are replaced in a complete output
  overwrite  SIGKILL while all rows of an output are replaced
  retag      SIGKILL while `scenetags retag` gives all rows of an output new tags
  full_disk  no kill, but the output's disk is full after a share of the rows, and is then enlarged (needs root)
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ScenetagsError
from pipelines.inference import PRECISIONS
from pipelines.output.lock import LOCK
from pipelines.output.run import FAILURES, PREDICTIONS, RUNS
from pipelines.results.outputs import open_output

SCENARIOS = ("fresh", "changed", "overwrite", "retag", "full_disk")
_DAMAGED_SHARE, _CHANGED_SHARE = 0.01, 0.2
_OUTPUT = "OUTPUT"
"""Stands for the output in a command."""
# Columns that differ between runs of the same images and model.
_OF_THE_RUN = {"run"}


class Archive(NamedTuple):
    """The images that all runs tag.

    Attributes:
      images: folder of the images, some of them damaged.
      command: that tags them, or retags their rows, with `_OUTPUT` for its output.
      before: initial output of a disrupted run; None for an empty one.
      expected: rows of an undisturbed run, by table.
      seconds: for which the undisturbed run was at work on its output.
      bytes: total size of the files it wrote.
    """

    images: Path
    command: Sequence[str]
    before: Path | None
    expected: dict[str, pa.Table]
    seconds: float
    bytes: int


class BrokenGuaranteeError(AssertionError):
    """Rows were lost, duplicated or wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Disrupt runs, print a line for each, and return 1 if a guarantee was broken."""
    options = _parse(arguments)
    work = Path(tempfile.mkdtemp(prefix="kill_runs-"))
    broken = 0
    try:
        archive = prepare(options, work)
        rows = {table: rows.num_rows for table, rows in archive.expected.items()}
        print(f"{options.scenario}: undisturbed {archive.seconds:.1f} s, rows {rows}", flush=True)
        random = Random(options.seed)
        for number in range(options.times):
            share = (number + random.random()) / options.times
            disturb = fill_disk if options.scenario == "full_disk" else kill
            try:
                print(f"{number + 1:3}  {disturb(archive, work / f'output-{number}', share)}", flush=True)
            except BrokenGuaranteeError as error:
                broken += 1
                print(f"{number + 1:3}  BROKEN at {share:.1%}: {error}", flush=True)
    finally:
        if not broken:
            shutil.rmtree(work)
    print(f"{options.times - broken} of {options.times} disrupted runs passed" + (f"; see {work}" if broken else ""))
    return 1 if broken else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.kill_runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images; not modified")
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--scenario", choices=SCENARIOS, default="fresh")
    parser.add_argument("--times", type=int, default=20, help="runs to disrupt, spread over a run's time (default 20)")
    parser.add_argument("--checkpoint_every", type=int, default=500, help="images per wave (default 500)")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the times (default 1)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=PRECISIONS[0], help=f"of the model (default {PRECISIONS[0]})"
    )
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace, work: Path) -> Archive:
    """Copy the images, damage some, and do the undisturbed run."""
    images = work / "images"
    shutil.copytree(options.images, images)
    paths = sorted(path for path in images.rglob("*") if path.is_file())
    random = Random(options.seed)
    for path in random.sample(paths, max(1, int(len(paths) * _DAMAGED_SHARE))):
        path.write_bytes(path.read_bytes()[:100])
    command = [sys.executable, "-m", "pipelines.predict", f"--input={images}", f"--model={options.model}"]
    command += ["--max_failure_rate=1", "--progress=off", f"--checkpoint_every={options.checkpoint_every}"]
    command += [f"--precision={options.precision}", f"--output={_OUTPUT}"]
    before = None
    if options.scenario in ("changed", "overwrite"):
        before = work / "before"
        _let_change(command, before, random.sample(paths, int(len(paths) * _CHANGED_SHARE)), options.scenario)
    command += ["--overwrite"] if options.scenario == "overwrite" else []
    if options.scenario == "retag":
        before = work / "before"
        _run_to_the_end(command, before)
        command = [sys.executable, "-m", "pipelines.retag", _OUTPUT, "--thresholds=0.9"]
    undisturbed = _copy_output(before, work / "undisturbed")
    seconds = _run_to_the_end(command, undisturbed)
    written = sum(path.stat().st_size for path in undisturbed.rglob("*.*"))
    return Archive(images, command, before, read_rows(undisturbed), seconds, written)


def _let_change(command: Sequence[str], before: Path, changing: Sequence[Path], scenario: str) -> None:
    """Write an output of images that change afterwards, and failed or had different pixels before."""
    true = {path: path.read_bytes() for path in changing}
    for number, path in enumerate(changing):
        path.write_bytes(true[path][:100] if number % 2 else true[changing[number - 1]])
    _run_to_the_end([*command, *(["--threshold=0.9"] if scenario == "overwrite" else [])], before)
    for path, data in true.items():
        path.write_bytes(data)


def kill(archive: Archive, output: Path, share: float) -> str:
    """Kill a run after a share of its time, and compare what it leaves with the undisturbed run."""
    _copy_output(archive.before, output)
    moment = share * archive.seconds
    run = subprocess.Popen(
        _into(output, archive.command),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _wait_until_at_work(run, output)
    try:
        run.wait(timeout=moment)
        disturbed = f"finished before {moment:.2f} s"
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        disturbed = f"killed at {moment:.2f} s"
    seen = look(archive, output)
    _run_to_the_end(archive.command, output)
    judge(archive, output)
    shutil.rmtree(output)
    return f"{disturbed}: {seen} rows visible, then correct"


def fill_disk(archive: Archive, output: Path, share: float) -> str:
    """Run on a disk that is full after a share of the rows, enlarge it, and check the same command again."""
    # The lock, the folders and a page per file come on top of the bytes.
    size = int(20_000 + share * archive.bytes)
    with _small_disk(output, size):
        run = subprocess.run(_into(output, archive.command), capture_output=True, text=True, check=False)
        if run.returncode not in (0, 1, 2) or "Traceback" in run.stderr:
            raise BrokenGuaranteeError(f"exit code {run.returncode}: {run.stderr}")
        if run.returncode and len(run.stderr.strip().splitlines()) != 1:
            raise BrokenGuaranteeError(f"more than one line: {run.stderr}")
        seen = look(archive, output)
        subprocess.run(["mount", "-o", "remount,size=1G", output], check=True)
        _run_to_the_end(archive.command, output)
        judge(archive, output)
    outcome = f"exit code {run.returncode}, {seen} rows visible, then correct"
    return f"disk of {size:,} bytes: {outcome}: {run.stderr.strip()}"


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"kill_runs: cannot mount a small disk (needs root on Linux): {error}") from error
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def look(archive: Archive, output: Path) -> int:
    """Check an output as a reader may see it at any time, and return its number of rows.

    Raises:
      BrokenGuaranteeError: a file cannot be opened, or an image has two rows in a table or has lost all of its rows.
    """
    rows = read_rows(output)
    replacing = "--overwrite" in archive.command
    for table, found in rows.items():
        # Old and new rows are visible together only while an overwrite moves its files into place.
        if not replacing:
            _refuse_doubles(found, table)
    if archive.before:
        lost = _paths(read_rows(archive.before)) - _paths(rows)
        if lost:
            raise BrokenGuaranteeError(f"{len(lost)} images have lost their rows, e.g. {min(lost)}")
    return sum(found.num_rows for found in rows.values())


def judge(archive: Archive, output: Path) -> None:
    """Compare a finished output with the undisturbed one.

    Raises:
      BrokenGuaranteeError: they differ.
    """
    for table, found in read_rows(output).items():
        _refuse_doubles(found, table)
        expected = archive.expected[table]
        if not found.equals(expected):
            wrong = set(map(str, found.to_pylist())) ^ set(map(str, expected.to_pylist()))
            raise BrokenGuaranteeError(f"{len(wrong)} rows of {table} differ, e.g. {min(wrong)}")
    left = {path.name for path in output.iterdir()} - {PREDICTIONS, FAILURES, RUNS}
    if left:
        raise BrokenGuaranteeError(f"left behind: {', '.join(sorted(left))}")
    last = open_output(str(output)).manifests()[-1]
    counts = last.accounts
    if last.status != "done" or not counts.balanced:
        rows = counts.predictions + counts.failures + counts.skipped
        raise BrokenGuaranteeError(f"manifest: {last.status}, {counts.inputs} inputs, {rows} rows")


def read_rows(output: Path) -> dict[str, pa.Table]:
    """Read the rows of both tables, sorted by path, without the columns that differ between runs."""
    # A run that is killed early has not made its output yet.
    output.mkdir(exist_ok=True)
    opened = open_output(str(output))
    rows = {}
    for table, files, read in (
        (PREDICTIONS, opened.prediction_files, opened.predictions),
        (FAILURES, opened.failure_files, opened.failures),
    ):
        try:
            found = read() if files else pa.table({"path": pa.array([], pa.string())})
        except ScenetagsError as error:
            raise BrokenGuaranteeError(str(error)) from error
        found = found.drop_columns(list(_OF_THE_RUN & set(found.column_names)))
        rows[table] = found.sort_by("path").combine_chunks().replace_schema_metadata(None)
    return rows


def _refuse_doubles(rows: pa.Table, table: str) -> None:
    counts = pc.value_counts(rows["path"])
    doubled = [count["values"].as_py() for count in counts if count["counts"].as_py() > 1]
    if doubled:
        raise BrokenGuaranteeError(f"{len(doubled)} images have two rows in {table}, e.g. {min(doubled)}")


def _paths(rows: dict[str, pa.Table]) -> set[str]:
    return {path for table in rows.values() for path in table["path"].to_pylist()}


def _copy_output(before: Path | None, output: Path) -> Path:
    if before:
        shutil.copytree(before, output)
    return output


def _into(output: Path, command: Sequence[str]) -> list[str]:
    return [word.replace(_OUTPUT, str(output)) for word in command]


def _run_to_the_end(command: Sequence[str], output: Path) -> float:
    """Run a command, and return for how many seconds it was at work on its output."""
    # To a file: nobody would read a pipe until the lock is there, and a run that fills it would never take the lock.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        run = subprocess.Popen(_into(output, command), stdout=subprocess.DEVNULL, stderr=said)
        _wait_until_at_work(run, output)
        began = time.monotonic()
        run.wait()
        seconds = time.monotonic() - began
        if run.returncode:
            said.seek(0)
            raise BrokenGuaranteeError(f"the command ended with exit code {run.returncode}: {said.read()}")
    return seconds


def _wait_until_at_work(run: subprocess.Popen[Any], output: Path) -> None:
    """Wait until a run has taken the lock of its output, or has ended."""
    while run.poll() is None and not (output / LOCK).exists():
        time.sleep(0.002)


if __name__ == "__main__":
    sys.exit(main())

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
from typing import Any

from pipelines.inference import PRECISIONS
from pipelines.output.lock import LOCK
from tools.output_checks import Archive, BrokenGuaranteeError, judge, look, read_rows

SCENARIOS = ("fresh", "changed", "overwrite", "retag", "full_disk")
_DAMAGED_SHARE, _CHANGED_SHARE = 0.01, 0.2
_OUTPUT = "OUTPUT"
"""Stands for the output in a command."""


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

"""Damage thousands of image files and check that `images.decode` keeps its promise: `python -m tools.fuzz_images`.

The promise: whatever the bytes, the outcome is an image or an `ImageError`, after at most 2 core-seconds and with at
most 1 GB. Every file is determined by the campaign's seed and its own number, so each can be reproduced.

Files are decoded in child processes, which print the number of each file first: a file that kills its process is known
by number. Files that break the promise are reported, and saved to the folder given by `--keep`; the exit code is then
1.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tools.hostile_images import hostile_seeds
from tools.image_mutations import make_case
from tools.image_seeds import Seed, draw_seeds
from tools.image_trials import MOST_BYTES, MOST_SECONDS, STOP_AFTER, Trial, try_numbers

_LARGEST_SEED = 1_000_000
_PROGRESS_EVERY = 15.0
_SHOWN = 5
_SIGALRM = 14


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign, or a child process's part of one."""
    options = _parse(arguments)
    seeds = [*draw_seeds(), *hostile_seeds(), *_read_corpus(options.corpus)]
    if options.child:
        first, last, step = map(int, options.child.split(":"))
        try_numbers(seeds, options.seed, range(first, last, step))
        return 0
    report = _Report(options.count)
    results: queue.SimpleQueue[Trial | None] = queue.SimpleQueue()
    last = options.first + options.count
    slots = [
        threading.Thread(
            target=_run_slot, args=(options, range(options.first + slot, last, options.workers), results), daemon=True
        )
        for slot in range(options.workers)
    ]
    for slot in slots:
        slot.start()
    running = len(slots)
    while running:
        trial = results.get()
        if trial is None:
            running -= 1
            continue
        report.add(trial)
        if trial.broken and options.keep:
            case = make_case(seeds, options.seed, trial.number)
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{options.seed}-{trial.number:07}.{case.seed.format}").write_bytes(case.data)
    report.print()
    return 1 if report.broken or report.done != options.count else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_images", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=5000, help="files to generate and decode (default 5000)")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the campaign (default 1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first file, e.g. to repeat a single one")
    parser.add_argument("--corpus", type=Path, help="folder of more files to damage; changes the file of each number")
    parser.add_argument("--keep", type=Path, help="folder for files that break the promise")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _read_corpus(folder: Path | None) -> list[Seed]:
    kinds = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".tif": "tiff", ".tiff": "tiff"}
    kinds |= {".gif": "gif", ".bmp": "bmp", ".webp": "webp", ".jp2": "jpeg2000", ".j2k": "jpeg2000"}
    paths = sorted(folder.rglob("*")) if folder else []
    return [
        Seed(f"{path.name} {kinds[path.suffix.lower()]}", kinds[path.suffix.lower()], path.read_bytes())
        for path in paths
        if path.suffix.lower() in kinds and path.stat().st_size <= _LARGEST_SEED
    ]


def _run_slot(options: argparse.Namespace, numbers: range, results: queue.SimpleQueue[Trial | None]) -> None:
    """Run child processes in succession, each resuming where the last one died."""
    while numbers:
        command = [sys.executable, "-m", "tools.fuzz_images", "--seed", str(options.seed)]
        command += ["--child", f"{numbers.start}:{numbers.stop}:{numbers.step}"]
        command += ["--corpus", str(options.corpus)] if options.corpus else []
        started = None
        # libtiff prints a line for most damaged TIFFs; the last lines of a child that dies show why.
        with (
            tempfile.TemporaryFile() as messages,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, text=True) as child,
        ):
            assert child.stdout
            for line in child.stdout:
                if line.startswith(">"):
                    started = Trial(int(line[1:].split()[0]), line.split(maxsplit=1)[1].strip(), "killed", 0.0, 0)
                    continue
                trial = Trial(**json.loads(line))
                results.put(trial)
                numbers, started = range(trial.number + numbers.step, numbers.stop, numbers.step), None
            code = child.wait()
            messages.seek(max(0, messages.seek(0, os.SEEK_END) - 2000))
            last_words = " ".join(messages.read().decode(errors="replace").split("\n")[-6:])
        if started is not None:
            cause = f"hangs: killed after {STOP_AFTER} s" if code == -_SIGALRM else f"crash: exit code {code}"
            results.put(started._replace(broken=f"{cause}: {last_words}"))
            numbers = range(started.number + numbers.step, numbers.stop, numbers.step)
        elif numbers:
            # The child died between two files, so it would do so again.
            results.put(Trial(numbers.start, "none", "killed", 0.0, 0, f"child processes do not start: {last_words}"))
            break
    results.put(None)


class _Report:
    """Count outcomes, keep the extremes, and report progress."""

    def __init__(self, count: int) -> None:
        self.done = 0
        self.broken: list[Trial] = []
        self._count = count
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._slowest: list[Trial] = []
        self._largest: list[Trial] = []
        self._began = self._said = time.monotonic()

    def add(self, trial: Trial) -> None:
        self.done += 1
        self._outcomes[trial.seed.split()[-1], trial.outcome] += 1
        self._slowest = sorted([*self._slowest, trial], key=lambda one: -one.seconds)[:_SHOWN]
        self._largest = sorted([*self._largest, trial], key=lambda one: -one.peak)[:_SHOWN]
        if trial.broken:
            self.broken.append(trial)
            print(f"BROKEN {_describe(trial)}: {trial.broken}", flush=True)
        if time.monotonic() - self._said > _PROGRESS_EVERY:
            self._said = time.monotonic()
            rate = self.done / (self._said - self._began)
            left = (self._count - self.done) / rate / 60
            print(f"{self.done:,} of {self._count:,}, {rate:.0f} files/s, {left:.1f} minutes left", flush=True)

    def print(self) -> None:
        minutes = (time.monotonic() - self._began) / 60
        print(f"\n{self.done:,} files in {minutes:.1f} minutes\n")
        formats = sorted({kind for kind, _ in self._outcomes})
        outcomes = sorted({outcome for _, outcome in self._outcomes})
        print(f"| {'outcome':24} |" + "".join(f" {kind:>7} |" for kind in [*formats, "all"]))
        print("|--------------------------|" + "--------:|" * (len(formats) + 1))
        for outcome in outcomes:
            counts = [self._outcomes[kind, outcome] for kind in formats]
            print(f"| {outcome:24} |" + "".join(f" {count:>7,} |" for count in [*counts, sum(counts)]))
        for title, trials in (("slowest", self._slowest), ("largest", self._largest)):
            print(f"\n{title}:")
            for trial in trials:
                print(f"  {_describe(trial)}")
        limits = f"{MOST_SECONDS:.0f} core-seconds, {MOST_BYTES / 1e9:.0f} GB"
        print(f"\n{len(self.broken)} of {self.done:,} broke the promise (an image or an ImageError; {limits})")


def _describe(trial: Trial) -> str:
    return (
        f"file {trial.number} ({trial.seed}): {trial.outcome}, {trial.seconds:.2f} core-seconds, "
        f"{trial.peak / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())

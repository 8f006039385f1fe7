"""Kill copies of a selection and check that the same command ends right: `python -m tools.kill_copies OUTPUT`.

The images of OUTPUT are copied into a folder, with SIGKILL once more and more of them are there. After each kill no
file may be there in part; after the same command again the folder must be that of a whole copy.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from pipelines.results.selecting.places import PARTIAL


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill copies, print a line for each, and return 1 if one did not end right."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.kill_copies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", metavar="OUTPUT", help="of `scenetags predict`, with local images")
    parser.add_argument("--times", type=int, default=20, help="copies to kill (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="random seed of their numbers of files (default 1)")
    options = parser.parse_args(arguments)
    random, broken = Random(options.seed), 0
    with tempfile.TemporaryDirectory(prefix="kill_copies-") as work:
        whole = Path(work, "whole")
        subprocess.run(_command(options.output, whole), check=True)
        expected = _read(whole)
        for number in range(options.times):
            files = int(len(expected) * (number + random.random()) / options.times)
            said = _disturb(options.output, Path(work, str(number)), files, expected)
            broken += said.startswith("BROKEN")
            print(f"{number + 1:3}  {said}", flush=True)
    print(f"{options.times - broken} of {options.times} killed copies ended right")
    return 1 if broken else 0


def _command(output: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "pipelines.query", output, "--copy_to", str(folder)]


def _disturb(output: str, folder: Path, files: int, expected: dict[str, bytes]) -> str:
    """Kill a copy once so many files are there, and run it again."""
    copy = subprocess.Popen(_command(output, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while copy.poll() is None and (not folder.exists() or sum(1 for _ in _files(folder)) < files):
        time.sleep(0.0005)
    copy.send_signal(signal.SIGKILL)
    killed = copy.wait() == -signal.SIGKILL
    left = _read(folder)
    if not left.items() <= expected.items():
        return "BROKEN: a file is there in part"
    again = subprocess.run(_command(output, folder), capture_output=True, text=True, check=False)
    if again.returncode or _read(folder) != expected or (folder / PARTIAL).exists():
        return f"BROKEN: exit code {again.returncode}, {again.stdout}{again.stderr}"
    ended, told = "killed" if killed else "ended", again.stdout.strip().partition(": ")[2]
    return f"{ended} with {len(left):,} of {len(expected):,} files; {told}"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and PARTIAL not in path.parts)


def _read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}


if __name__ == "__main__":
    sys.exit(main())

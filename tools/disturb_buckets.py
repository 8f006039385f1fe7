"""Disrupt runs whose output is in a bucket, and check that nothing is lost: `python -m tools.disturb_buckets`.

The bucket is an emulator on loopback, behind a proxy that can reject requests. After each disrupted run, the same
command is run again if need be, and the output is checked as in `tools.output_checks`.

Scenarios:
  kill    SIGKILL while an empty output is filled
  pause   the bucket responds with 503 for 10 s, which the run must survive
  outage  the bucket responds with 503 until the run gives up, with a one-line error
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from pipelines import storage
from tools import emulators, kill_runs, output_checks
from tools.output_checks import Archive, BrokenGuaranteeError
from tools.proxy import Disturbance, Proxy, before

_PAUSE_SECONDS = 10.0
_PATIENCE_SECONDS = 300.0
_NOTE = "scenetags: "
"""Beginning of a line that tells what a run waits for, not how it ended."""
_EMULATORS = {"gs": emulators.google, "s3": emulators.amazon}


def main(arguments: Sequence[str] | None = None) -> int:
    """Disrupt runs, print a line for each, and return 1 if a guarantee was broken."""
    options = _parse(arguments)
    work = Path(tempfile.mkdtemp(prefix="disturb_buckets-"))
    broken = 0
    try:
        with _EMULATORS[options.storage]() as emulator, before(emulator.host) as proxy:
            os.environ.update(emulators.environment(emulator.scheme, proxy.host))
            archive = kill_runs.prepare(options, work)
            print(f"{options.scenario} in {options.storage}://: undisturbed {archive.seconds:.1f} s", flush=True)
            random = Random(options.seed)
            for number in range(options.times):
                share = (number + random.random()) / options.times
                output = f"{emulator.bucket}/output-{number}"
                try:
                    print(f"{number + 1:3}  {SCENARIOS[options.scenario](archive, output, share, proxy)}", flush=True)
                except BrokenGuaranteeError as error:
                    broken += 1
                    print(f"{number + 1:3}  BROKEN at {share:.1%}: {error}", flush=True)
    finally:
        shutil.rmtree(work)
    print(f"{options.times - broken} of {options.times} disrupted runs passed")
    return 1 if broken else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.disturb_buckets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images; not modified")
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--scenario", choices=SCENARIOS, default="kill")
    parser.add_argument("--storage", choices=_EMULATORS, default="gs")
    parser.add_argument("--times", type=int, default=20, help="runs to disrupt, spread over a run's time (default 20)")
    parser.add_argument("--checkpoint_every", type=int, default=500, help="images per wave (default 500)")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the times (default 1)")
    return parser.parse_args(arguments)


def kill(archive: Archive, output: str, share: float, proxy: Proxy) -> str:
    """Kill a run after a share of its time."""
    run = _start(archive, output)
    try:
        run.wait(timeout=share * archive.seconds)
    except subprocess.TimeoutExpired:
        run.kill()
    run.communicate()
    return f"killed at {share * archive.seconds:.2f} s: {_check_and_resume(archive, output)}"


def pause(archive: Archive, output: str, share: float, proxy: Proxy) -> str:
    """Have the bucket reject requests for some seconds after a share of the time."""
    run = _start(archive, output)
    refused = _refuse_after(share * archive.seconds, _PAUSE_SECONDS, proxy)
    _, said = run.communicate()
    if run.returncode:
        raise BrokenGuaranteeError(f"exit code {run.returncode}: {said}")
    rows = _judge(archive, output)
    moment = f"{share * archive.seconds:.2f} s"
    return f"{len(refused)} requests rejected from {moment} on: exit code 0, {rows} rows, correct"


def outage(archive: Archive, output: str, share: float, proxy: Proxy) -> str:
    """Have the bucket reject requests after a share of the time, until the run ends."""
    run = _start(archive, output)
    _refuse_after(share * archive.seconds, _PATIENCE_SECONDS, proxy, run)
    _, said = run.communicate()
    lines = [line for line in said.splitlines() if not line.startswith(_NOTE)]
    if run.returncode not in (0, 1, 2) or "Traceback" in said or (run.returncode and len(lines) != 1):
        raise BrokenGuaranteeError(f"exit code {run.returncode}: {said}")
    return f"exit code {run.returncode}, {said.strip() or 'not affected'}: {_check_and_resume(archive, output)}"


SCENARIOS = {"kill": kill, "pause": pause, "outage": outage}


def _start(archive: Archive, output: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*archive.command, f"--output={output}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _refuse_after(
    seconds: float, refusing: float, proxy: Proxy, run: subprocess.Popen[str] | None = None
) -> Sequence[str]:
    """Reject all requests after some seconds, for some seconds or until a run has ended."""
    time.sleep(seconds)
    refused: list[str] = []

    def refuse(method: str, path: str) -> Disturbance:
        refused.append(path)
        return Disturbance(503)

    undisturbed, proxy.disturb = proxy.disturb, refuse
    began = time.monotonic()
    while time.monotonic() - began < refusing and not (run and run.poll() is not None):
        time.sleep(0.1)
    proxy.disturb = undisturbed
    return refused


def _check_and_resume(archive: Archive, output: str) -> str:
    with tempfile.TemporaryDirectory() as copy:
        seen = output_checks.look(archive, fetch(output, Path(copy)))
    again = _start(archive, output)
    _, said = again.communicate()
    if again.returncode:
        raise BrokenGuaranteeError(f"the same command ended with exit code {again.returncode}: {said}")
    _judge(archive, output)
    return f"{seen} rows visible, then correct"


def _judge(archive: Archive, output: str) -> int:
    with tempfile.TemporaryDirectory() as copy:
        fetched = fetch(output, Path(copy))
        output_checks.judge(archive, fetched)
        return output_checks.look(archive, fetched)


def fetch(output: str, copy: Path) -> Path:
    """Copy an output to this machine, as a reader would."""
    for entry in storage.walk(f"{output}/"):
        path = copy / entry.path.removeprefix(f"{output}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(storage.read(entry.path))
    return copy


if __name__ == "__main__":
    sys.exit(main())

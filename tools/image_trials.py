"""Decode damaged files one at a time in a separate process, and judge each outcome."""

from __future__ import annotations

import json
import resource
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.images import Decoded, ImageError, decode, ignore_metadata_warnings
from pipelines.images.limits import MAX_PIXELS
from tools.image_mutations import make_case
from tools.image_seeds import Seed

MOST_SECONDS = 2.0
"""Core-seconds that a file may take; wall-clock time would depend on the machine's load."""

MOST_BYTES = 1_000_000_000
"""Bytes by which the process may grow for a file."""

STOP_AFTER = 60
"""Wall-clock seconds after which a process counts as hung."""

REPAIRS = frozenset(("unmarked_rgba_jpeg", "cmyk", "cmyk_inverted", "ycck", "grayscale", "palette")) | {
    "alpha_dropped",
    "colour_space_ignored",
    "depth_scaled",
    "extra_band_dropped",
    "icc_ignored",
    "icc_to_srgb",
    "exif_rotated",
    "first_frame",
    "mask_dropped",
    "no_data_kept",
    "offset_removed",
    "stretched",
}
# Distinguishes a file that requests this much memory at once from one for which the machine has too little.
_ADDRESS_SPACE = 3 * 2**30
# Only fast files are decoded again for comparison, so that a campaign does not take much longer.
_QUICK = 0.2


class Trial(NamedTuple):
    """The outcome of a file.

    Attributes:
      number: of the file in its campaign.
      seed: name and format of its seed.
      outcome: `decoded`, the class of the error, or `killed`.
      seconds: core-seconds.
      peak: largest growth of the process, in bytes.
      broken: how the promise was broken; empty if it was kept.
    """

    number: int
    seed: str
    outcome: str
    seconds: float
    peak: int
    broken: str = ""


def try_numbers(seeds: Sequence[Seed], campaign: int, numbers: Iterable[int]) -> None:
    """Decode the files with these numbers, and print a line before and after each."""
    ignore_metadata_warnings()
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        case = make_case(seeds, campaign, number)
        print(f">{number} {case.seed.name}", flush=True)
        # The signal is not caught, so it ends the process even inside a C library that never returns.
        signal.setitimer(signal.ITIMER_REAL, STOP_AFTER)
        trial = try_file(case.data, number, case.seed.name)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if trial.broken:
            trial = trial._replace(broken=f"{trial.broken} [{', '.join(case.mutations)}]")
        print(json.dumps(trial._asdict()), flush=True)


def try_file(data: bytes, number: int = 0, name: str = "file") -> Trial:
    """Decode a file and judge the outcome."""
    before = _forget_peak()
    began = time.process_time()
    decoded, broken = None, ""
    try:
        decoded = decode(data)
        outcome = "decoded"
    except ImageError as error:
        outcome = type(error).__name__
        broken = "requests more than 3 GB" if isinstance(error.__cause__, MemoryError) else _judge_message(str(error))
    except BaseException as error:
        outcome = "escaped"
        broken = f"{type(error).__name__} instead of an ImageError: {error}"
    seconds = time.process_time() - began
    peak = max(0, _peak() - before)
    if decoded is not None:
        broken = _judge(decoded) or (_judge_again(data, decoded) if seconds < _QUICK else "")
    if seconds > MOST_SECONDS:
        broken = f"takes {seconds:.1f} s of core time; {broken}"
    if peak > MOST_BYTES:
        broken = f"takes {peak / 1e6:.0f} MB; {broken}"
    return Trial(number, name, outcome, round(seconds, 4), peak, broken)


def _judge_message(message: str) -> str:
    suitable = message.strip() and "\n" not in message and len(message) < 500
    return "" if suitable else f"unsuitable message: {message[:200]!r}"


def _judge(decoded: Decoded) -> str:
    pixels = decoded.pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not 0 < pixels.size <= 3 * MAX_PIXELS:
        return f"pixels {pixels.dtype}{list(pixels.shape)}"
    unknown = {repair for repair in decoded.repairs if repair not in REPAIRS and not repair.startswith("bands_")}
    if unknown or len(set(decoded.repairs)) != len(decoded.repairs):
        return f"repairs {decoded.repairs}"
    return ""


def _judge_again(data: bytes, decoded: Decoded) -> str:
    try:
        again = decode(data)
    except ImageError as error:
        return f"rejected when decoded again: {error}"
    same = again[1:] == decoded[1:] and np.array_equal(again.pixels, decoded.pixels)
    return "" if same else "different result when decoded again"


def _forget_peak() -> int:
    """Reset the kernel's peak size of this process, and return its current size in bytes."""
    # Otherwise the peak would be that of the largest file so far. As a consequence, the tool runs only on Linux.
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

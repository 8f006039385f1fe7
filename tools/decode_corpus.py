"""Compare what decoders make of every file in a folder: `python -m tools.decode_corpus FOLDER`.

It needs the extra `corpus`: libvips, OpenCV and tifffile. Pillow is compared as most programs use it, by its
`convert("RGB")`. Each file is counted in one class:

  equal to all    every decoder that reads it gives these pixels
  equal to some   some do, others give different ones: the decoders disagree among themselves
  equal to none   none does: look at these first
  alone           no other decoder reads it
  refused         by scenetags, with the error and the number of decoders that read it

Pixels are equal if 99% of their samples differ by at most 4 of 255 levels: decoders round differently, and interpolate
chroma differently. Opacity is left out, EXIF orientation and colour profiles are applied where a decoder can.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.images import ImageError, decode, ignore_metadata_warnings
from pipelines.images.formats import ENDINGS

_TOLERANCE, _SHARE = 4, 0.99
_STOP_AFTER = 60
_EXAMPLES = 3

Pixels = NDArray[np.uint8]


class Comparison(NamedTuple):
    """What decoders made of a file.

    Attributes:
      path: of the file.
      verdict: the class, as above; `crashed` if a decoder ended or hung the process.
      detail: repairs, or the reason of a refusal.
      equal: decoders that give the same pixels.
      different: decoders that give others, or another size.
    """

    path: str
    verdict: str
    detail: str = ""
    equal: tuple[str, ...] = ()
    different: tuple[str, ...] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all files of a folder, and print the classes with their counts and some examples."""
    options = _parse(arguments)
    if options.child:
        _compare_listed()
        return 0
    missing = [module for module in ("pyvips", "cv2", "tifffile") if not find_spec(module)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; pip install -c requirements.lock '.[corpus]'")
    paths = sorted(str(path) for path in options.folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    slots = [paths[slot :: options.workers] for slot in range(options.workers)]
    classes: defaultdict[str, list[Comparison]] = defaultdict(list)
    with ThreadPoolExecutor(options.workers) as executor, open(options.output or os.devnull, "w") as output:
        for comparisons in executor.map(lambda slot: list(_compare_in_child(slot)), slots):
            for comparison in comparisons:
                classes[comparison.verdict].append(comparison)
                output.write(json.dumps(comparison._asdict()) + "\n")
    _report(classes, len(paths))
    return 0


def compare(path: str) -> Comparison:
    """Decode a file with all decoders."""
    data = Path(path).read_bytes()
    others = {name: pixels for name, read in _READERS.items() if (pixels := _try(read, path)) is not None}
    try:
        ours = decode(data)
    except ImageError as error:
        read_by = f"read by {len(others)}" if others else "read by none"
        return Comparison(path, f"refused, {read_by}", f"{type(error).__name__}: {error.message}", (), tuple(others))
    equal = tuple(name for name, pixels in others.items() if _is_equal(ours.pixels, pixels))
    different = tuple(name for name in others if name not in equal)
    verdict = "equal to all" if equal and not different else "equal to some" if equal else "equal to none"
    return Comparison(path, verdict if others else "alone", ", ".join(ours.repairs), equal, different)


def _is_equal(ours: Pixels, theirs: Pixels) -> bool:
    if ours.shape != theirs.shape:
        return False
    return bool(np.mean(np.abs(ours.astype(np.int16) - theirs) <= _TOLERANCE) >= _SHARE)


def _try(read: Callable[[str], Any], path: str) -> Pixels | None:
    """Read a file with one decoder; None if it does not read it, or not as 8-bit colour or gray."""
    try:
        pixels = np.asarray(read(path))
    except Exception:
        return None
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        return None
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return np.dstack([pixels.reshape(*pixels.shape[:2], -1)[..., 0]] * 3)
    return pixels[..., :3]


def _read_by_pillow(path: str) -> Any:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _read_by_vips(path: str) -> Any:
    import pyvips

    image = pyvips.Image.new_from_file(path, fail_on="truncated").autorot()
    if image.get_typeof("icc-profile-data"):
        return image.icc_transform("srgb", embedded=True)
    return image.colourspace("srgb")


def _read_by_opencv(path: str) -> Any:
    import cv2

    return cv2.imread(path, cv2.IMREAD_COLOR_RGB)


def _read_by_tifffile(path: str) -> Any:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        pixels = page.asarray()
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            return 255 - pixels
        # Palettes, inks and bands one after the other are its caller's to interpret.
        return pixels if page.photometric in (1, 2, 6) and page.planarconfig == 1 else None


_READERS: dict[str, Callable[[str], Any]] = {
    "pillow": _read_by_pillow,
    "vips": _read_by_vips,
    "opencv": _read_by_opencv,
    "tifffile": _read_by_tifffile,
}


def _compare_in_child(paths: Sequence[str]) -> Iterator[Comparison]:
    """Compare files in a process of its own, and begin another one behind a file that ends it."""
    left = list(paths)
    while left:
        command = [sys.executable, "-m", "tools.decode_corpus", "--child", "."]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert child.stdin
        assert child.stdout
        while left:
            watchdog = threading.Timer(_STOP_AFTER, child.kill)
            watchdog.start()
            line = ""
            try:
                child.stdin.write(left[0] + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
            except BrokenPipeError:
                pass
            finally:
                watchdog.cancel()
            path = left.pop(0)
            yield Comparison(**json.loads(line)) if line else Comparison(path, "crashed")
            if not line:
                break
        child.stdin.close()
        child.wait()


def _compare_listed() -> None:
    """Run as a child: compare the files named on standard input, and answer with a line for each."""
    ignore_metadata_warnings()
    for line in sys.stdin:
        print(json.dumps(compare(line.rstrip("\n"))._asdict()), flush=True)


def _report(classes: dict[str, list[Comparison]], files: int) -> None:
    print(f"{files:,} files\n\n| class | files |\n|---|--:|")
    for verdict in sorted(classes):
        print(f"| {verdict} | {len(classes[verdict]):,} |")
    for verdict in sorted(classes):
        if verdict == "equal to all":
            continue
        details = Counter(_kind(comparison) for comparison in classes[verdict])
        print(f"\n{verdict}:")
        for kind, count in details.most_common():
            examples = [comparison.path for comparison in classes[verdict] if _kind(comparison) == kind][:_EXAMPLES]
            print(f"  {count:5,}  {kind}\n         {'  '.join(examples)}")


def _kind(comparison: Comparison) -> str:
    """Describe what is common to comparisons of one class."""
    if comparison.verdict.startswith("refused"):
        return comparison.detail.partition(":")[0]
    against = f"; not {', '.join(comparison.different)}" if comparison.different else ""
    return f"{comparison.detail or 'no repairs'}{against}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.decode_corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="read recursively")
    parser.add_argument("--output", help="write a line of JSON per file to this file")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

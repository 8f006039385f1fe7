"""Compare a scene with the same windows as chips, in rate and memory: `python -m benchmarks.scenes`.

Writes a scene of 16 bits and 4 bands in tiles, cuts all of its windows beforehand into lossless chips, and tags both in
turn, and the scene also as if each of its requests took a while. What counts is the ratio within a round. Needs the
extra `test`: GDAL writes the files.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import CACHE, large_bundle
from benchmarks.memory import peak

GOAL_RATE, GOAL_WAITING, GOAL_MEMORY = 0.85, 1.3, 800_000_000
TILE = 256
_FLAGS = ["--bands=3,2,1", "--stretch=0:2500", "--progress=off", "--engine=litert"]
_BLOCK = 512
_SLOWED = """\
import sys, time
from pipelines import predict, storage
read = storage.read_range
def slowly(*place, **others):
    time.sleep({seconds})
    return read(*place, **others)
storage.read_range = slowly
sys.exit(predict.main())
"""


def main() -> int:
    """Measure, and print each round and the medians; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scenes", description=__doc__)
    parser.add_argument("--model", help="a bundle (default: alpha 1.0 at 224 px, hardly trained)")
    parser.add_argument("--side", type=int, default=8192, help="pixels of a side of the scene (default 8192)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure (default 3)")
    parser.add_argument("--wait", type=float, default=0.05, help="seconds before each request (default 0.05)")
    options = parser.parse_args()

    model = options.model or str(large_bundle())
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        scene, chips = Path(folder, "scene.tif"), Path(folder, "chips")
        # In a process of its own: what this one holds would count as the peak of those that it starts.
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            other.submit(write_scene, scene, options.side).result()
            other.submit(cut, scene, chips).result()
        run = [f"--model={model}", *_FLAGS]
        tiled = [f"--input={scene}", f"--tile={TILE}", *run]
        rates, waits, peaks = [], [], []
        for number in range(1, options.rounds + 1):
            as_chips, _ = timed(["-m", "pipelines.predict", f"--input={chips}", *run])
            as_scene, taken = timed(["-m", "pipelines.predict", *tiled])
            waiting, _ = timed(["-c", _SLOWED.format(seconds=options.wait), *tiled])
            rates.append(as_chips / as_scene)
            waits.append(waiting / as_scene)
            peaks.append(taken)
            print(
                f"round {number}: chips {as_chips:.1f} s, scene {as_scene:.1f} s ({taken / 1e6:.0f} MB), "
                f"with {options.wait * 1e3:.0f} ms before each request {waiting:.1f} s",
                flush=True,
            )
    rate, waiting, highest = statistics.median(rates), statistics.median(waits), max(peaks)
    print(f"rate of the scene to that of its chips: {rate:.2f} (goal: at least {GOAL_RATE})")
    print(f"time with slow requests to that without: {waiting:.2f} (goal: at most {GOAL_WAITING})")
    print(f"peak memory: {highest / 1e6:.0f} MB (goal: at most {GOAL_MEMORY / 1e6:.0f} MB)")
    return int(rate < GOAL_RATE or waiting > GOAL_WAITING or highest > GOAL_MEMORY)


def timed(command: list[str]) -> tuple[float, int]:
    """Run Python with an empty output; return seconds and peak memory."""
    with tempfile.TemporaryDirectory() as output:
        began = time.perf_counter()
        taken = peak([sys.executable, *command, f"--output={output}"])
        return time.perf_counter() - began, taken


def write_scene(path: Path, side: int) -> None:
    """Write a scene of waves and noise, 3 m a pixel, with overviews."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    noise = np.random.default_rng(1).integers(0, 200, (4, _BLOCK, _BLOCK)).astype(np.uint16)
    shape: dict[str, Any] = {"width": side, "height": side, "count": 4, "dtype": "uint16"}
    tiles = {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "deflate", "predictor": 2}
    place = {"crs": "EPSG:32720", "transform": from_origin(400_000, 9_000_000, 3, 3)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **tiles, **place) as file:
        for row in range(0, side, _BLOCK):
            for column in range(0, side, _BLOCK):
                part = Window(column, row, min(_BLOCK, side - column), min(_BLOCK, side - row))
                file.write(_waves(part) + noise[:, : part.height, : part.width], window=part)
        file.build_overviews([2, 4, 8])


def cut(scene: Path, folder: Path) -> None:
    """Cut all windows of a scene into chips."""
    import rasterio
    from rasterio.windows import Window

    folder.mkdir()
    lossless = {"driver": "GTiff", "dtype": "uint16", "count": 4, "compress": "deflate", "predictor": 2}
    with rasterio.open(scene) as file:
        for row in range(0, file.height - TILE + 1, TILE):
            for column in range(0, file.width - TILE + 1, TILE):
                part = Window(column, row, TILE, TILE)
                with rasterio.open(folder / f"{row}_{column}.tif", "w", width=TILE, height=TILE, **lossless) as chip:
                    chip.write(file.read(window=part))


def _waves(part: Any) -> NDArray[np.uint16]:
    rows, columns = np.mgrid[: part.height, : part.width]
    waves = np.sin((columns + part.col_off) / 137) + np.cos((rows + part.row_off) / 153)
    shown: NDArray[np.uint16] = ((waves + 2) * 600).astype(np.uint16)
    return shown


if __name__ == "__main__":
    sys.exit(main())

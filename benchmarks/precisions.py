"""How far engines and precisions are from one another: `python -m benchmarks.precisions --model BUNDLE FOLDER ...`.

Each engine predicts the chips of each folder on one core; LiteRT in float32 is what the others are compared with. Last
come batches in OpenVINO, whose engine takes images one by one because that was faster where it was measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from pipelines.images import DecodeSettings, decode_resized
from pipelines.inference import bfloat16, openvino_engine, openvino_runtime
from pipelines.inference.bundle import LITERT_MODEL, Bundle, load_bundle
from pipelines.inference.engines import Engine, open_engine
from pipelines.inference.processor import bfloat16_units, describe_processor
from pipelines.inference.tagging import choose_labels
from pipelines.supervision.temporary import temporary_folder

ROUNDS = 9
TIMED = 32
"""Chips per round."""
BATCH_SIZES = (1, 2, 4, 8, 16)

Way = TypeVar("Way", bound=Hashable)


class Difference(NamedTuple):
    """How far the probabilities of N images are from those of LiteRT in float32.

    Attributes:
      mean: difference of a probability.
      largest: difference of a probability.
      tags: number of tags that only one of the two has.
      images: number of images with other tags.
    """

    mean: float
    largest: float
    tags: int
    images: int


def main() -> None:
    """Measure, and print tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precisions", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of JPEGs")
    parser.add_argument("--model", required=True, help="a bundle")
    options = parser.parse_args()
    bundle = load_bundle(options.model)
    ways = dict(open_all(bundle))
    print(f"{describe_processor()}; OpenVINO {openvino_runtime.import_openvino().__version__}")
    for folder in options.folders:
        pixels = read(sorted(folder.glob("*.jpg")), bundle)
        print(*lay_out(bundle, ways, pixels, f"{len(pixels)} chips of {folder}"), sep="\n")
    print(*lay_out_batches(bundle, np.resize(pixels, (TIMED, *pixels.shape[1:]))), sep="\n")


def open_all(bundle: Bundle) -> Iterator[tuple[str, Engine]]:
    """Open every engine that is installed, in every precision that this machine has."""
    for name in ("litert", "openvino", *["tensorflow"] * (find_spec("tensorflow") is not None)):
        yield f"{name}, float32", open_engine(bundle, name, threads=1)
    if bfloat16_units():
        with patch.object(
            openvino_engine, "round_graph", lambda *arguments: (arguments[2], bundle.golden().probabilities)
        ):
            yield "openvino, bfloat16 as it rounds by itself", open_engine(bundle, threads=1, precision="bfloat16")
        for layers in sorted({0, 5, 8, bfloat16.EXACT_LAYERS}):
            with patch.object(bfloat16, "EXACT_LAYERS", layers):
                yield (
                    f"openvino, bfloat16, biases corrected, {layers} layers in float32",
                    open_engine(bundle, threads=1, precision="bfloat16"),
                )


def read(paths: Sequence[Path], bundle: Bundle) -> NDArray[np.uint8]:
    """Decode and resize images."""
    settings = DecodeSettings(bundle.image_size, bundle.resize_filter)
    return np.stack([decode_resized(path.read_bytes(), settings).pixels for path in paths])


def lay_out(bundle: Bundle, ways: Mapping[str, Engine], pixels: NDArray[np.uint8], title: str) -> Iterator[str]:
    """Yield the lines of a table."""
    costs = core_ms({name: engine.predict for name, engine in ways.items()}, pixels[:TIMED])
    probabilities = {name: engine.predict(pixels) for name, engine in ways.items()}
    exact = probabilities["litert, float32"]
    yield f"\n| {title} | core-ms | mean difference | largest | other tags | images with other tags |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name, ours in probabilities.items():
        of = difference(exact, ours, bundle)
        shown = f"{of.mean:.2g} | {of.largest:.2g} | {of.tags:,} of {ours.size:,} | {of.images:,} of {len(ours):,}"
        yield f"| {name} | {costs[name]:.2f} | {shown} |"


def lay_out_batches(bundle: Bundle, pixels: NDArray[np.uint8]) -> Iterator[str]:
    """Yield the lines of a table of batch sizes."""
    ways = {
        (hint, size): open_batches(bundle, hint, size)
        for hint in ("f32", "bf16")[: 1 + bool(bfloat16_units())]
        for size in BATCH_SIZES
    }
    costs = core_ms(ways, pixels)
    yield f"\n| core-ms, by images per call | {' | '.join(map(str, BATCH_SIZES))} |"
    yield "|---" + "|--:" * len(BATCH_SIZES) + "|"
    for hint in dict.fromkeys(hint for hint, _ in ways):
        yield f"| openvino, {hint} | {' | '.join(f'{costs[hint, size]:.2f}' for size in BATCH_SIZES)} |"


def open_batches(bundle: Bundle, hint: str, size: int) -> Callable[[NDArray[np.uint8]], None]:
    """Compile the graph as OpenVINO does by itself, for batches of one size on one core."""
    core = openvino_runtime.load_core()
    with temporary_folder() as folder:
        graph = openvino_engine._read(core, bundle.read(LITERT_MODEL), folder)
        graph.reshape([size, bundle.image_size, bundle.image_size, 3])
        how = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
        request = core.compile_model(graph, "CPU", how).create_infer_request()

    def predict(pixels: NDArray[np.uint8]) -> None:
        for at in range(0, len(pixels), size):
            request.get_input_tensor().data[:] = pixels[at : at + size]
            request.infer()

    return predict


def difference(exact: NDArray[np.float32], ours: NDArray[np.float32], bundle: Bundle) -> Difference:
    """Compare probabilities, float32[N, L], and the tags that follow from them."""
    tags, others = (choose_labels(of, bundle.labels, bundle.thresholds) for of in (exact, ours))
    differences, changed = np.abs(ours - exact), tags != others
    return Difference(
        float(differences.mean()), float(differences.max()), int(changed.sum()), int(changed.any(axis=1).sum())
    )


def core_ms(ways: Mapping[Way, Callable[[NDArray[np.uint8]], Any]], pixels: NDArray[np.uint8]) -> dict[Way, float]:
    """Return the milliseconds of a core per image, medians over rounds in which all take turns."""
    taken: dict[Way, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, predict in ways.items():
            began = time.process_time()
            predict(pixels)
            taken[name].append((time.process_time() - began) * 1e3 / len(pixels))
    return {name: statistics.median(of) for name, of in taken.items()}


if __name__ == "__main__":
    main()

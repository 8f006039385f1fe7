"""Read and tag a few images as the job does, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache
from typing import NamedTuple

from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.images.rendering import Rendering, unpack_rendering
from pipelines.inference.ahead import run_model
from pipelines.inference.bundle import Bundle
from pipelines.inference.engines import open_engine
from pipelines.inference.precision import Choice, choose_precision
from pipelines.inference.predictor import Predictor
from pipelines.reading import READS_IN_FLIGHT
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, Image, ImageRef, Listed, Prediction
from pipelines.scenes.grid import Grid


class Tagged(NamedTuple):
    """What became of images.

    Attributes:
      images: those with a prediction, in the order in which they were listed.
      predictions: of each of them.
      failures: of the others, and of those that could not be listed.
      empty: number of windows with too little data.
    """

    images: Sequence[Image]
    predictions: Sequence[Prediction]
    failures: Sequence[Failure]
    empty: int


def tag_images(
    listed: Sequence[Listed],
    bundle: Bundle,
    rendering: Rendering,
    grid: Grid,
    engine: str,
    precision: str,
    tell: Callable[[Choice], object] = lambda _: None,
) -> Tagged:
    """Read images, and run the model on all of them.

    Args:
      listed: the images; windows, if they are of scenes.
      bundle: the model.
      rendering: of rasters.
      grid: by which scenes were cut.
      engine: one of `ENGINES`.
      precision: one of `PRECISIONS`, or `auto`.
      tell: called with the choice of a precision that was left open.

    Raises:
      BundleError: the engine rejects the bundle.
    """
    read = _read(listed, bundle, rendering, grid)
    images = [item for item in read if isinstance(item, Image)]
    outcomes = _predict(images, bundle, engine, precision, tell) if images else []
    pairs = [(image, one) for image, one in zip(images, outcomes, strict=True) if isinstance(one, Prediction)]
    places = {item.path: place for place, item in enumerate(listed)}
    failures = [item for item in (*listed, *read, *outcomes) if isinstance(item, Failure)]
    return Tagged(
        [image for image, _ in pairs],
        [prediction for _, prediction in pairs],
        sorted(failures, key=lambda failure: places[failure.path]),
        sum(isinstance(item, Empty) for item in read),
    )


def sampled_renderings(listed: Iterable[Listed]) -> Iterator[tuple[str, Rendering]]:
    """Yield the scenes that were sampled to find out how to show them, and what was found."""
    windows = [item.window for item in listed if isinstance(item, ImageRef) and item.window]
    for scene, packed in dict.fromkeys((window.scene, window.rendering) for window in windows if window.rendering):
        yield scene, unpack_rendering(packed)


def _read(listed: Iterable[Listed], bundle: Bundle, rendering: Rendering, grid: Grid) -> list[Image | Failure | Empty]:
    decoding = DecodeSettings(bundle.image_size, bundle.resize_filter, rendering=rendering)
    source = ImageSource(decoding, Limits(), grid=grid)
    with closing(LookAhead(source, READS_IN_FLIGHT)) as ahead:
        return list(ahead.read(item for item in listed if isinstance(item, ImageRef)))


def _predict(
    images: Sequence[Image], bundle: Bundle, engine: str, precision: str, tell: Callable[[Choice], object]
) -> list[Prediction | Failure]:
    opened = cache(lambda precision: open_engine(bundle, engine, precision=precision))
    if precision == "auto":
        choice = choose_precision(engine, bundle, opened)
        tell(choice)
        precision = choice.precision
    return list(run_model(Predictor(opened(precision), measures=bundle.reference is not None), images))

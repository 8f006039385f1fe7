"""`scenetags tag`: a quick look at a few images, without Beam."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from pipelines import storage
from pipelines.commandline.execution import add_anonymous, add_engine
from pipelines.commandline.flags import add_model
from pipelines.commandline.parser import Parser, UsageError, print_error
from pipelines.commandline.printing import log, show
from pipelines.commandline.rasters import add_rasters, check_percentiles, read_rendering
from pipelines.commandline.scenes import add_scenes, read_documents, read_grid
from pipelines.errors import ExitCode, ScenetagsError

if TYPE_CHECKING:
    from pipelines.images.rendering import Rendering
    from pipelines.inference.bundle import Bundle
    from pipelines.records import Empty, Failure, Image, Listed, Prediction
    from pipelines.results.picture import Panel
    from pipelines.scenes.documents import Documents
    from pipelines.scenes.grid import Grid

_DESCRIPTION = """\
Tag a few images and show tags and probabilities on the screen.

The images are decoded, repaired and tagged exactly as by `scenetags predict`.
"""

_EPILOG = """\
examples:
  scenetags tag chips/train_1.jpg --model bundle/ --picture train_1.png
  scenetags tag scene.tif --tile 256 --model bundle/ --picture scene.png

exit codes: 0 every image was tagged, 1 some failed (each says why), 2 wrong usage, 130 interrupted by Ctrl-C.
"""

_NAME = "scenetags tag"

SHOWN_PROBABILITY = 0.02
"""Labels below it are left out on the screen, unless they are tags."""

_MOST_SHOWN = 0.999
"""Novelty above which the screen says no more than that."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders or patterns")
    add_model(parser)
    add_engine(parser)
    add_rasters(parser, default="as the bundle's training images did")
    add_scenes(parser)
    add_anonymous(parser, "read public buckets without credentials")
    parser.add_argument(
        "--picture",
        metavar="FILE.png",
        help="also draw each image next to its probabilities, and each scene with the tags of its windows",
    )
    try:
        return _tag(parser.parse_args(sys.argv[1:] if argv is None else argv))
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _tag(options: argparse.Namespace) -> int:
    # Imported here: NumPy, Pillow and Arrow take longer than `--help` should.
    from pipelines.images import ignore_metadata_warnings
    from pipelines.inference.bundle import load_bundle
    from pipelines.listing import list_images
    from pipelines.records import Empty, Failure, Image

    ignore_metadata_warnings()
    grid = read_grid(options.tile, options.stride, options.min_valid, options.edge, options.mask)
    said = read_rendering(options.bands, options.stretch, options.product)
    check_percentiles(said, bool(grid))
    documents = read_documents(options.asset, options.allow_vrt, options.tile, options.bands)
    storage.use(storage.Access(anonymous=options.anonymous))
    listed = list(list_images(options.images, documents=documents, tell=_warn))
    if options.picture:
        _check_picture(options.picture, [item.path for item in listed])
    bundle = load_bundle(options.model)
    rendering = said.over(bundle.rendering)
    if grid:
        listed = _cut(listed, grid, rendering, documents)
    read = _read(listed, bundle, rendering, grid)
    images = [item for item in read if isinstance(item, Image)]
    predictions = _predict(images, bundle, options) if images else []
    panels = list(_show(images, predictions, bundle))
    if empty := sum(isinstance(item, Empty) for item in read):
        show(f"left out: {empty:,} with less data than --min_valid or --mask", "")
    places = {item.path: place for place, item in enumerate(listed)}
    failures = [item for item in (*listed, *read, *predictions) if isinstance(item, Failure)]
    for failure in sorted(failures, key=lambda failure: places[failure.path]):
        log(failure.path, f"  failed to {failure.stage}: {failure.message}", "")
    if options.picture and panels:
        _draw(panels, options.picture)
    return ExitCode.STOPPED if failures else ExitCode.DONE


def _cut(listed: Sequence[Listed], grid: Grid, rendering: Rendering, documents: Documents) -> list[Listed]:
    """Cut scenes into windows, and print how scenes are shown that had to be sampled for it."""
    from pipelines.images.limits import MAX_PIXELS
    from pipelines.listing.scenes import CutSettings, cut_scenes
    from pipelines.scenes.ground import check_installed

    check_installed()
    cut = list(cut_scenes(listed, CutSettings(grid, rendering, MAX_PIXELS, documents.trusted), _warn))
    for scene, found in _renderings(cut):
        show(f"{scene}: shown with {found}", "")
    return cut


def _read(listed: Sequence[Listed], bundle: Bundle, rendering: Rendering, grid: Grid) -> list[Image | Failure | Empty]:
    from pipelines.images import DecodeSettings
    from pipelines.images.limits import Limits
    from pipelines.reading import READS_IN_FLIGHT
    from pipelines.reading.ahead import LookAhead
    from pipelines.reading.source import ImageSource
    from pipelines.records import ImageRef

    decoding = DecodeSettings(bundle.image_size, bundle.resize_filter, rendering=rendering)
    source = ImageSource(decoding, Limits(), grid=grid)
    with closing(LookAhead(source, READS_IN_FLIGHT)) as ahead:
        return list(ahead.read(item for item in listed if isinstance(item, ImageRef)))


def _predict(images: Sequence[Image], bundle: Bundle, options: argparse.Namespace) -> list[Prediction | Failure]:
    from pipelines.inference.ahead import run_model
    from pipelines.inference.engines import INSTALL_OPENVINO, choose_precision, lacks_openvino, open_engine
    from pipelines.inference.tagging import Predictor

    precision = choose_precision(options.precision, options.engine, bundle)
    if options.precision == "auto" and lacks_openvino(options.engine, bundle):
        log(
            f"{_NAME}: --precision auto computes in float32; bfloat16 needs OpenVINO: {INSTALL_OPENVINO}",
            severity="INFO",
        )
    engine = open_engine(bundle, options.engine, precision=precision)
    predictor = Predictor(engine, measures=bundle.reference is not None)
    return list(run_model(predictor, images))


def _show(images: Sequence[Image], predictions: Sequence[Prediction | Failure], bundle: Bundle) -> Iterator[Panel]:
    """Show the images that have a prediction, and yield a panel of each."""
    from pipelines.records import Prediction

    for image, prediction in zip(images, predictions, strict=True):
        if isinstance(prediction, Prediction):
            panel = _panel(image, prediction, bundle)
            show(*_describe(panel, prediction, bundle))
            yield panel


def _renderings(listed: Sequence[Listed]) -> Iterator[tuple[str, Rendering]]:
    """Yield the scenes whose values were looked at, and how they are shown."""
    from pipelines.images.rendering import unpack_rendering
    from pipelines.records import ImageRef

    windows = [item.window for item in listed if isinstance(item, ImageRef) and item.window]
    for scene, packed in dict.fromkeys((window.scene, window.rendering) for window in windows if window.rendering):
        yield scene, unpack_rendering(packed)


def _warn(line: str) -> None:
    log(f"{_NAME}: {line}", severity="WARNING")


def _check_picture(picture: str, images: Sequence[str]) -> None:
    if not picture.lower().endswith(".png"):
        raise UsageError(f"--picture {picture} is not a .png file")
    if not os.path.isdir(os.path.dirname(picture) or "."):
        raise UsageError(f"--picture {picture}: the folder does not exist", "create it first")
    if os.path.realpath(picture) in map(os.path.realpath, images):
        raise UsageError(f"--picture {picture}: would replace one of the images")


def _draw(panels: Sequence[Panel], picture: str) -> None:
    from pipelines.results.picture import draw

    try:
        draw(panels, picture)
    except OSError as error:
        raise UsageError(f"--picture {picture}: {error.strerror or error}") from error
    show(f"picture: {picture}")


def _panel(image: Image, prediction: Prediction, bundle: Bundle) -> Panel:
    import numpy as np

    from pipelines.inference.tagging import choose_tags
    from pipelines.results.picture import Panel

    [tags] = choose_tags(prediction.probabilities[np.newaxis], bundle.labels, bundle.thresholds)
    order = np.argsort(-prediction.probabilities, kind="stable")
    probabilities = {bundle.labels[index]: float(prediction.probabilities[index]) for index in order}
    return Panel(image.ref.path, image.pixels, probabilities, tags, image.ref.window)


def _describe(panel: Panel, prediction: Prediction, bundle: Bundle) -> list[str]:
    """Write an image's tags and its likelier labels in lines of text, with a bar each."""
    repairs = f", repaired: {', '.join(prediction.repairs)}" if prediction.repairs else ""
    shown = {
        label: probability
        for label, probability in panel.probabilities.items()
        if probability >= SHOWN_PROBABILITY or label in panel.tags
    }
    name_width = max(map(len, shown), default=0)
    bar_width = max(10, min(40, shutil.get_terminal_size().columns - name_width - 12))
    lines = [
        f"  {'*' if label in panel.tags else ' '} {label:{name_width}} {probability:6.1%} "
        f"{'█' * round(probability * bar_width)}"
        for label, probability in shown.items()
    ]
    return [
        panel.title,
        f"  {prediction.width} x {prediction.height}, {prediction.source}{repairs}",
        f"  tags (*): {', '.join(panel.tags) or 'none'}",
        *_describe_novelty(prediction, bundle),
        *lines,
        "",
    ]


def _describe_novelty(prediction: Prediction, bundle: Bundle) -> list[str]:
    """Write how strange an image is to the model, if it is known."""
    import numpy as np

    from pipelines.inference.reference import STRANGE

    if bundle.reference is None or prediction.appearance is None:
        return []
    [novelty] = bundle.reference.novelty(prediction.appearance[np.newaxis])
    # Never all of them: that is more than the statistics of a few hundred images can tell.
    share = f"{novelty:.1%}" if novelty <= _MOST_SHOWN else f"over {_MOST_SHOWN:.1%}"
    warning = ": the model has hardly seen such images" if novelty > STRANGE else ""
    return [f"  stranger than {share} of the training images{warning}"]


if __name__ == "__main__":
    sys.exit(main())

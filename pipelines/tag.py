"""`scenetags tag`: a quick look at a few images, without Beam."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import numpy as np

from pipelines.archives import Streams, is_streamed
from pipelines.bundle import Bundle, BundleError, load_bundle
from pipelines.decoding import Decode, DecodeSettings, decode_resized
from pipelines.engines import ENGINES, open_engine
from pipelines.flags import UsageParser
from pipelines.images import ignore_metadata_warnings
from pipelines.inference import run_model
from pipelines.listing import InputError, list_images
from pipelines.options import UsageError
from pipelines.picture import Panel, draw
from pipelines.reading import read_image
from pipelines.records import Failure, Image, ImageRef, Prediction
from pipelines.storage import NoAccessError
from pipelines.tagging import Predictor, choose_tags

DESCRIPTION = """\
Tag a few images and show tags and probabilities on the screen.

The images are decoded, repaired and judged exactly as `scenetags predict` does it.
"""

EPILOG = """\
example:
  scenetags tag chips/train_1.jpg --model bundle/ --picture train_1.png

exit codes: 0 every image was tagged, 1 some failed (each says why), 2 wrong usage.
"""

SHOWN_PROBABILITY = 0.02
"""Labels below it are left out on the screen, unless they are tags."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = UsageParser(
        prog="scenetags tag",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders or patterns")
    parser.add_argument("--model", required=True, metavar="BUNDLE", help="the bundle that `scenetags train` made")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="what computes the model (default auto)")
    parser.add_argument("--picture", metavar="FILE.png", help="also draw each image beside its probabilities")
    try:
        options = parser.parse_args(sys.argv[1:] if argv is None else argv)
        return _tag(options)
    except (UsageError, BundleError, InputError, NoAccessError) as error:
        print(f"scenetags tag: {error}", file=sys.stderr)
        return 2


def _tag(options: argparse.Namespace) -> int:
    ignore_metadata_warnings()
    listed = list(list_images(options.images))
    if options.picture:
        _check_picture(options.picture, [item.path for item in listed])
    bundle = load_bundle(options.model)
    settings = DecodeSettings(bundle.image_size, bundle.resize_filter)
    decode = partial(decode_resized, settings=settings)
    with closing(Streams()) as streams:
        read = [item if isinstance(item, Failure) else _read(item, decode, streams) for item in listed]
    images = [item for item in read if isinstance(item, Image)]
    predictions: list[Prediction | Failure] = []
    if images:
        predictions += run_model(Predictor(open_engine(bundle, options.engine)), images)
    failures = [item for item in (*read, *predictions) if isinstance(item, Failure)]
    panels = []
    for image, prediction in zip(images, predictions, strict=True):
        if isinstance(prediction, Prediction):
            panel = _panel(image, prediction, bundle)
            panels.append(panel)
            print(_describe(panel, prediction))
    for failure in failures:
        print(f"{failure.path}\n  failed to {failure.stage}: {failure.message}\n", file=sys.stderr)
    if options.picture and panels:
        try:
            draw(panels, options.picture)
        except OSError as error:
            raise UsageError(f"--picture {options.picture}: {error.strerror or error}") from error
        print(f"picture: {options.picture}")
    return 1 if failures else 0


def _read(ref: ImageRef, decode: Decode, streams: Streams) -> Image | Failure:
    fetch = partial(streams.read, ref) if is_streamed(ref) else None
    return read_image(ref, decode, fetch=fetch)


def _check_picture(picture: str, images: Sequence[str]) -> None:
    if not picture.lower().endswith(".png"):
        raise UsageError(f"--picture {picture}: name a .png file")
    if not os.path.isdir(os.path.dirname(picture) or "."):
        raise UsageError(f"--picture {picture}: there is no such folder")
    if os.path.realpath(picture) in map(os.path.realpath, images):
        raise UsageError(f"--picture {picture}: would replace one of the images")


def _panel(image: Image, prediction: Prediction, bundle: Bundle) -> Panel:
    [tags] = choose_tags(prediction.probabilities[np.newaxis], bundle.labels, bundle.thresholds)
    order = np.argsort(-prediction.probabilities, kind="stable")
    probabilities = {bundle.labels[index]: float(prediction.probabilities[index]) for index in order}
    return Panel(image.ref.path, image.pixels, probabilities, tags)


def _describe(panel: Panel, prediction: Prediction) -> str:
    """Write an image's tags and its likelier labels, with a bar each."""
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
    return "\n".join(
        (
            panel.title,
            f"  {prediction.width} x {prediction.height}, {prediction.source}{repairs}",
            f"  tags (*): {', '.join(panel.tags) or 'none'}",
            *lines,
            "",
        )
    )


if __name__ == "__main__":
    sys.exit(main())

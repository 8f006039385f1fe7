"""`scenetags tag`: a quick look at a few images, without Beam."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines import storage
from pipelines.commandline.execution import add_anonymous, add_engine
from pipelines.commandline.files import check_named
from pipelines.commandline.flags import add_model
from pipelines.commandline.parser import Parser, UsageError, place, print_error
from pipelines.commandline.printing import log, show
from pipelines.commandline.rasters import add_rasters, check_percentiles, read_rendering
from pipelines.commandline.scenes import add_scenes, read_documents, read_grid
from pipelines.errors import ExitCode, ScenetagsError

if TYPE_CHECKING:
    from pipelines.images.rendering import Rendering
    from pipelines.inference.bundle import Bundle
    from pipelines.inference.precision import Choice
    from pipelines.quicklook.picture import Panel
    from pipelines.quicklook.tagged import Tagged
    from pipelines.records import Listed
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
        type=place,
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
    from pipelines.quicklook.tagged import tag_images

    ignore_metadata_warnings()
    grid = read_grid(options.tile, options.stride, options.min_valid, options.edge, options.mask, options.nodata)
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
    tagged = tag_images(listed, bundle, rendering, grid, options.engine, options.precision, _report_choice)
    panels = _show(tagged, bundle, grid.tile)
    for failure in tagged.failures:
        log(failure.path, f"  failed to {failure.stage}: {failure.message}", "")
    if options.picture and panels:
        _draw(panels, options.picture)
    elif options.picture:
        # An older file may still be there.
        _warn(f"--picture {options.picture} was not drawn: nothing was tagged")
    return ExitCode.STOPPED if tagged.failures else ExitCode.DONE


def _cut(listed: Sequence[Listed], grid: Grid, rendering: Rendering, documents: Documents) -> list[Listed]:
    """Cut scenes into windows, and print how scenes are shown that had to be sampled for it."""
    from pipelines.images.limits import MAX_PIXELS
    from pipelines.listing.scenes import CutSettings, cut_scenes
    from pipelines.quicklook.tagged import sampled_renderings
    from pipelines.scenes.ground import check_installed

    check_installed()
    cut = list(cut_scenes(listed, CutSettings(grid, rendering, MAX_PIXELS, documents.trusted), _warn))
    for scene, found in sampled_renderings(cut):
        show(f"{scene}: shown with {found}", "")
    return cut


def _show(tagged: Tagged, bundle: Bundle, tile: int) -> list[Panel]:
    """Print what the images show; return a panel of each."""
    from pipelines.quicklook.lines import describe, make_panel

    panels = []
    for image, prediction in zip(tagged.images, tagged.predictions, strict=True):
        panels.append(make_panel(image, prediction, bundle))
        show(*describe(panels[-1], prediction, bundle, tile))
    if tagged.empty:
        show(f"left out: {tagged.empty:,} with less data than --min_valid or --mask", "")
    return panels


def _report_choice(choice: Choice) -> None:
    if choice.reason:
        log(f"{_NAME}: {choice}", severity=choice.severity)


def _warn(line: str) -> None:
    log(f"{_NAME}: {line}", severity="WARNING")


def _check_picture(picture: str, images: Sequence[str]) -> None:
    check_named("--picture", picture, (".png",))
    if storage.is_remote(picture):
        raise UsageError(f"--picture {picture} is not on this machine", "name a local .png file")
    if os.path.realpath(picture) in map(os.path.realpath, images):
        raise UsageError(f"--picture {picture}: would replace one of the images")


def _draw(panels: Sequence[Panel], picture: str) -> None:
    from pipelines.quicklook.picture import draw

    try:
        draw(panels, picture)
    except OSError as error:
        raise UsageError(f"--picture {picture}: {error.strerror or error}") from error
    show(f"picture: {picture}")


if __name__ == "__main__":
    sys.exit(main())

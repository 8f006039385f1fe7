"""`scenetags map`: put the windows of an output on a map."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines import storage
from pipelines.commandline.execution import add_anonymous
from pipelines.commandline.files import check_named, find_bucket, open_named
from pipelines.commandline.numbers import between
from pipelines.commandline.parser import Parser, UsageError, place, print_error
from pipelines.commandline.printing import show, to_output
from pipelines.errors import ExitCode, ScenetagsError, quantity
from pipelines.results.maps import MEAN, MERGES

if TYPE_CHECKING:
    from pipelines.output.footers import Footer
    from pipelines.results.files import Head
    from pipelines.results.maps.footprints import Counts
    from pipelines.results.maps.rasters import Unreadable
    from pipelines.results.outputs import Output

_DESCRIPTION = """\
Put the windows of scenes on a map, with the probability of each tag.

The page shows them coloured by the probability of a tag, with a slider for the threshold, at first that of the output.
It is one file that needs no network, and shows up to a million windows. GeoJSON is for other programs, and for more.
Rasters are cloud-optimized GeoTIFFs, one per scene: the probability of each tag is a band, in the scene's own reference
system, with a pixel per stride. To learn how a scene is georeferenced, its first bytes are read again.
"""

_EPILOG = """\
examples:
  scenetags map tagged/ --html map.html
  scenetags map gs://results/amazon --tag road --tag habitation --html roads.html
  scenetags map tagged/ --tag road --min_probability 0.5 --geojson roads.geojson
  scenetags map tagged/ --tag road --cog roads/

exit codes: 0 done, 2 wrong usage, or an output without windows of scenes, 3 a scene could not be read, so it has no
raster, 130 interrupted by Ctrl-C.
"""

_NAME = "scenetags map"

# The host becomes part of the page's policy, in which a space or a semicolon would end it.
_TILES = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/\S+", re.ASCII)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    try:
        flags = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        _check(flags)
        signed = find_bucket(flags.html, flags.geojson)
        storage.use(storage.Access(anonymous=flags.anonymous, signed=signed))
        return _map(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _parser() -> Parser:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="NAME",
        help="a tag to show; repeatable, and the page offers the choice (default: all of the model)",
    )
    parser.add_argument("--html", type=place, metavar="FILE.html", help="write a page, local or in a bucket")
    parser.add_argument(
        "--geojson",
        type=place,
        metavar="FILE.geojson",
        help="write a feature per window, likewise; - for standard output",
    )
    parser.add_argument(
        "--cog",
        type=place,
        metavar="FILE.tif|FOLDER",
        help="write a raster of each scene; a folder gets files that are named like the scenes",
    )
    parser.add_argument(
        "--merge",
        choices=MERGES,
        help="how to combine overlapping windows: mean or maximum probability (default: mean)",
    )
    parser.add_argument(
        "--relative_to",
        metavar="DIR",
        help="folder below which the scenes of --cog are now, if rows have relative paths (default: as in the newest "
        "run)",
    )
    parser.add_argument(
        "--min_probability",
        type=between(0, 1),
        default=0.0,
        metavar="P",
        help="leave out windows in which no tag reaches this probability (default: none)",
    )
    parser.add_argument(
        "--basemap",
        metavar="URL",
        help="map tiles for the page to draw the windows on, e.g. https://HOST/{z}/{x}/{y}.png; only then does the "
        "page need a network, and the tile server sees which tiles are viewed",
    )
    add_anonymous(
        parser, "read public buckets without credentials; credentials are used only for the bucket that is written to"
    )
    return parser


def _check(flags: argparse.Namespace) -> None:
    if not flags.html and not flags.geojson and not flags.cog:
        raise UsageError("nothing to write", "give --html FILE.html, --geojson FILE.geojson or --cog FOLDER")
    if flags.html:
        check_named("--html", flags.html, (".html", ".htm"))
    if flags.geojson not in (None, "-"):
        check_named("--geojson", flags.geojson, (".geojson", ".json"))
    if flags.basemap is not None:
        _check_basemap(flags.basemap, flags.html)
    if flags.cog:
        _check_rasters(flags)
    elif flags.relative_to is not None:
        raise UsageError("--relative_to needs --cog", "add --cog FOLDER")
    elif flags.merge:
        raise UsageError("--merge needs --cog", "add --cog FOLDER")


def _check_rasters(flags: argparse.Namespace) -> None:
    path = flags.cog
    ending = os.path.splitext(path)[1].lower()
    if storage.is_remote(path) or (ending not in ("", ".tif", ".tiff") and not os.path.isdir(path)):
        raise UsageError(f"--cog {path} is neither a local .tif file nor a local folder")
    if not os.path.isdir(os.path.dirname(path.rstrip(os.sep)) or "."):
        raise UsageError(f"--cog {path}: the folder that it is in does not exist", "create it first")
    if flags.min_probability:
        raise UsageError("--min_probability does not apply to --cog", "run the command once for each")


def _check_basemap(url: str, page: str | None) -> None:
    if not page:
        raise UsageError("--basemap needs --html", "add --html FILE.html")
    if not _TILES.fullmatch(url) or not all(place in url for place in ("{z}", "{x}", "{y}")):
        raise UsageError(f"--basemap {url} is not a URL of tiles", "write e.g. https://HOST/{z}/{x}/{y}.png")


def _map(flags: argparse.Namespace) -> int:
    # Imported here: NumPy and Arrow would make `--help` slow.
    from pipelines.results.maps.footprints import choose_tags
    from pipelines.results.outputs import open_output
    from pipelines.results.outside import check_outside

    output = open_output(flags.output)
    for flag in ("html", "geojson", "cog"):
        check_outside(output, f"--{flag}", getattr(flags, flag))
    head = output.head()
    footer = head.footer
    tags = choose_tags(footer, flags.tag)
    stream = sys.stderr if flags.geojson == "-" else sys.stdout
    if flags.html:
        show(*_describe(flags.html, _write_page(output, footer, tags, flags), flags.min_probability), file=stream)
    if flags.geojson:
        counts = _write_features(output, head, tags, flags)
        written = "standard output" if flags.geojson == "-" else flags.geojson
        show(*_describe(written, counts, flags.min_probability), file=stream)
    if flags.cog:
        counts, unreadable = _write_rasters(output, footer, tags, flags)
        show(*_describe(flags.cog, counts, 0), *_describe_unreadable(unreadable), file=stream)
        return ExitCode.TOO_MANY_FAILURES if unreadable else ExitCode.DONE
    return ExitCode.DONE


def _write_page(output: Output, footer: Footer, tags: Sequence[str], flags: argparse.Namespace) -> Counts:
    from pipelines.results.maps.data import pack
    from pipelines.results.maps.footprints import read_footprints
    from pipelines.results.maps.page import make_page

    packed = pack(read_footprints(output, footer, tags, flags.min_probability))
    title = os.path.basename(output.path) or output.path
    page = make_page(title, packed, footer, tags, flags.min_probability, flags.basemap)
    with open_named("--html", flags.html) as file:
        file.write(page)
    return packed.counts


def _write_features(output: Output, head: Head, tags: Sequence[str], flags: argparse.Namespace) -> Counts:
    from pipelines.results.maps.footprints import read_footprints
    from pipelines.results.maps.geojson import write_features

    footprints = read_footprints(output, head.footer, tags, flags.min_probability, head.has_novelty)
    columns = [head.footer.columns[tag] for tag in tags]
    if flags.geojson == "-":
        with to_output():
            return write_features(footprints, columns, sys.stdout)
    with open_named("--geojson", flags.geojson) as file:
        return write_features(footprints, columns, file)


def _write_rasters(
    output: Output, footer: Footer, tags: Sequence[str], flags: argparse.Namespace
) -> tuple[Counts, list[Unreadable]]:
    """Write rasters; return what became of rows, and the scenes that have none."""
    from pipelines.results.maps.cog import write_cog
    from pipelines.results.maps.footprints import Counts, read_footprints
    from pipelines.results.maps.raster_files import name_rasters
    from pipelines.results.maps.rasters import Unreadable, gather_windows, make_rasters
    from pipelines.results.whereabouts import find_whereabouts, require_folder

    merge = flags.merge or MEAN
    whereabouts = require_folder(output, find_whereabouts(output, footer, flags.relative_to))
    windows = gather_windows(read_footprints(output, footer, tags))
    files = name_rasters([whereabouts.whole(scene) for scene in windows.scenes], flags.cog)
    unreadable = []
    for file, raster in zip(files, make_rasters(windows, footer, whereabouts, merge), strict=True):
        if isinstance(raster, Unreadable):
            unreadable.append(raster)
            continue
        try:
            os.makedirs(os.path.dirname(file) or ".", exist_ok=True)
            storage.write(os.path.realpath(file), write_cog(raster, tags, footer.bundle, merge))
        except OSError as error:
            raise UsageError(f"--cog {file} cannot be written: {error.strerror or error}") from error
    if len(unreadable) == len(files):
        first = unreadable[0]
        remedy = "a raster takes its georeference from its scene, so the scene must be readable"
        moved = "; if scenes have moved, say where they are now with --relative_to" * footer.relative
        raise ScenetagsError(f"{whereabouts.whole(first.scene)}: {first.reason}", remedy + moved)
    return windows.counts + Counts(shown=-sum(scene.windows for scene in unreadable)), unreadable


def _describe_unreadable(unreadable: Sequence[Unreadable]) -> list[str]:
    if not unreadable:
        return []
    first, windows = unreadable[0], sum(scene.windows for scene in unreadable)
    return [f"  left out: windows of scenes that cannot be read: {windows:,}, e.g. {first.scene}: {first.reason}"]


def _describe(path: str, counts: Counts, min_probability: float) -> list[str]:
    """Say what was written, and what was left out."""
    left = [
        (counts.below, f"windows below {min_probability:g}"),
        (counts.unplaced, "windows without a location"),
        (counts.images, "images that are not windows"),
    ]
    return [
        f"{path}: {quantity(counts.shown, 'window')}",
        *(f"  left out: {what}: {count:,}" for count, what in left if count),
    ]


if __name__ == "__main__":
    sys.exit(main())

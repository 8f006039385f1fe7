"""`scenetags stac`: describe an output as STAC items."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines import storage
from pipelines.commandline.execution import add_anonymous
from pipelines.commandline.parser import Parser, UsageError, place, print_error
from pipelines.commandline.printing import show
from pipelines.errors import ExitCode, ScenetagsError, quantity

if TYPE_CHECKING:
    from pipelines.results.cataloguing.stac_items import Document

_DESCRIPTION = """\
Describe the scenes of an output as a STAC collection, for a catalogue.

Each scene becomes an item with its footprint and time, the tags of its windows, the model that found them (extension
mlm), the columns of the rows (extension table), and links to the Parquet files that hold them. Documents of an earlier
call are replaced; the output itself does not change.
"""

_EPILOG = """\
examples:
  scenetags stac tagged/ --to catalogue/
  scenetags stac gs://results/amazon --to gs://results/catalogue --datetime 2026-03-01T10:30:00Z

exit codes: 0 done, 2 wrong usage, or an output without windows of scenes, 130 interrupted by Ctrl-C.
"""

_NAME = "scenetags stac"
_AT_ONCE = 16
_MOST_BYTES = 1 << 28
"""Of a collection: a million items take half of it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    parser.add_argument(
        "--to",
        type=place,
        required=True,
        metavar="FOLDER",
        help="for collection.json and the items, local or in a bucket",
    )
    parser.add_argument(
        "--datetime",
        metavar="TIME",
        help="time of scenes that do not say when they were taken, e.g. 2026-03-01T10:30:00Z: STAC requires a time",
    )
    add_anonymous(parser, "read public buckets without credentials; credentials are used only for the bucket of --to")
    try:
        flags = parser.parse_args(sys.argv[1:] if argv is None else argv)
        folder, taken = _read_folder(flags.to), "" if flags.datetime is None else _read_time(flags.datetime)
        storage.use(storage.Access(anonymous=flags.anonymous, signed=storage.bucket_of(folder)))
        _describe(flags.output, folder, taken)
    except ScenetagsError as error:
        return print_error(_NAME, error)
    return ExitCode.DONE


def _read_folder(path: str) -> str:
    try:
        folder = storage.normalize(path) if path else ""
    except storage.UnsupportedStorageError as error:
        raise UsageError(f"--to {error.message}", error.remedy) from error
    if not folder or not storage.can_be_written(folder):
        raise UsageError(f"--to {path}: documents are written to a local folder, gs:// or s3://")
    return folder


def _read_time(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        # Of the first and the last day that Python knows, the time in UTC may be on one that it does not.
        pass
    raise UsageError(f"--datetime {text}: not a time with its zone", "write e.g. 2026-03-01T10:30:00Z")


def _check_replaceable(folder: str, collection: Document) -> None:
    """Verify that a collection would replace none but an earlier one of the same output.

    Raises:
      UsageError: it would.
      OSError: the folder cannot be read.
    """
    from pipelines.results.cataloguing.stac_items import is_earlier

    earlier: Any = None
    try:
        earlier = json.loads(storage.read(collection.path, _MOST_BYTES))
    except (FileNotFoundError, PermissionError):
        # Some may write to a bucket, and not read it.
        return
    except (ValueError, RecursionError, storage.FileTooLargeError):
        pass
    if not is_earlier(collection.content, earlier):
        raise UsageError(
            f"--to {folder}: {collection.path} is not a collection that scenetags has made of this output",
            "choose another folder, or move that file elsewhere",
        )


def _describe(path: str, folder: str, taken: str) -> None:
    # Imported here: NumPy and Arrow would make `--help` slow.
    from pipelines.results.cataloguing.scene_extents import read_extents
    from pipelines.results.cataloguing.stac_items import describe_output
    from pipelines.results.outputs import open_output
    from pipelines.results.outside import check_outside

    output = open_output(path)
    check_outside(output, "--to", folder)
    head = output.head()
    extents = read_extents(output, head.footer)
    timeless = [extent for extent in extents if not extent.taken]
    if timeless and not taken:
        others = f", and {len(timeless) - 1:,} more" if len(timeless) > 1 else ""
        raise UsageError(
            f"{timeless[0].path}{others}: nothing says when it was taken, which STAC requires", "give --datetime"
        )

    def write(document: Document) -> None:
        storage.write(document.path, json.dumps(document.content, indent=2).encode())

    *items, collection = describe_output(output, head, extents, folder, taken)
    try:
        _check_replaceable(folder, collection)
        with ThreadPoolExecutor(_AT_ONCE) as executor:
            for _ in executor.map(write, items):
                pass
        # Last, since it links to the others.
        write(collection)
    except OSError as error:
        raise UsageError(f"--to {folder} cannot be written: {error.strerror or error}") from error
    nowhere = sum(not len(extent.hull) for extent in extents)
    show(
        f"{collection.path}: {quantity(len(items), 'scene')}",
        *([f"  without a place: {nowhere:,}"] if nowhere else []),
        *([f"  without a time of their own: {len(timeless):,}"] if timeless else []),
    )


if __name__ == "__main__":
    sys.exit(main())

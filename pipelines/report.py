"""`scenetags report`: one page about an output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pipelines import storage
from pipelines.commandline.execution import add_anonymous
from pipelines.commandline.files import check_named, find_bucket, write_named
from pipelines.commandline.labels import add_labels, read_label_source
from pipelines.commandline.numbers import at_least
from pipelines.commandline.parser import Parser, place, print_error
from pipelines.commandline.printing import show
from pipelines.errors import ExitCode, ScenetagsError

_DESCRIPTION = """\
Write a page about an output: what was tagged and what failed, how often, with what probability, with thumbnails.

The page says whether the images are like those that the model was trained on, if the model's bundle has statistics of
them. It shows the probabilities of each tag over all rows, with a slider for its threshold, and a sample of the images:
for each tag the surest, the least sure, and those just over and just under the threshold, and the strangest of all. It
is one file that needs no network. Moved thresholds can be saved as JSON.
"""

_EPILOG = """\
examples:
  scenetags report tagged/ --html report.html
  scenetags report tagged/ --html report.html --labels train_v2.csv
  scenetags report gs://results/amazon --html report.html --images 0

exit codes: 0 done, 2 wrong usage, or no output that can be read as a whole, 130 interrupted by Ctrl-C.
"""

_NAME = "scenetags report"
_IMAGES, _MOST_IMAGES = 600, 1000
"""Images on the page: by default, and so many that it stays below 15 MB."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    try:
        flags = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        check_named("--html", flags.html, (".html", ".htm"))
        _report(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)
    return ExitCode.DONE


def _parser() -> Parser:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    parser.add_argument(
        "--html",
        type=place,
        metavar="FILE.html",
        required=True,
        help="write the page, local or in a bucket; replaces an existing one",
    )
    parser.add_argument(
        "--images",
        type=at_least(0, _MOST_IMAGES),
        default=_IMAGES,
        metavar="N",
        help=f"images to show (default {_IMAGES}); their originals are read for thumbnails. 0 reads none",
    )
    parser.add_argument(
        "--seed", type=at_least(0, 2**32 - 1), default=0, metavar="N", help="seed of the random sample (default 0)"
    )
    parser.add_argument(
        "--relative_to",
        metavar="DIR",
        help="folder below which the originals are now, if rows have relative paths (default: as in the newest run)",
    )
    add_anonymous(
        parser, "read public buckets without credentials; credentials are used only for the bucket that is written to"
    )
    add_labels(parser, "adds precision, recall and F2 of each tag, and the worst mistakes", required=False)
    return parser


def _report(flags: argparse.Namespace) -> None:
    # Imported here: NumPy, Pillow and Arrow would make `--help` slow.
    from pipelines.results.outputs import open_output
    from pipelines.results.outside import check_outside
    from pipelines.results.report.page import describe, make_page
    from pipelines.results.report.survey import look_over

    labels = read_label_source(flags)
    storage.use(storage.Access(anonymous=flags.anonymous, signed=find_bucket(flags.html)))
    output = open_output(flags.output)
    check_outside(output, "--html", flags.html)
    survey = look_over(output, flags.seed, flags.images, labels, flags.relative_to)
    page = make_page(survey, flags.seed)
    write_named("--html", flags.html, page)
    show(f"{flags.html}: {len(page) / 1e6:.1f} MB", *(f"  {line}" for line in describe(survey)))


if __name__ == "__main__":
    sys.exit(main())

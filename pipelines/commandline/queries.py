"""The flags of `scenetags query`: what each means to a user, and how they are read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pipelines import storage
from pipelines.commandline.execution import add_anonymous
from pipelines.commandline.files import check_named
from pipelines.commandline.numbers import SHARE, at_least
from pipelines.commandline.parser import Parser, UsageError, place, read_bound

TOP = 50
"""Images that are found by likeness or novelty, unless said otherwise."""

OPENS = ("copy_to", "link_to", "fiftyone", "label_studio")
"""Flags for which the images must be found."""

WRITES = ("csv", "parquet", *OPENS)
"""Flags that name what is written."""

_DESCRIPTION = """\
Find the images whose tags fit an expression, and list, copy or export them.

An expression combines labels of the model with and, or, not and parentheses. Without an expression, all images are
found. Put labels that have spaces, or are called and, or or not, in quotes. Images that failed have no tags, and are
never found.
Novelty is how strange an image is compared with the model's training images, if the bundle has statistics of them:
0.99 is stranger than 99 of 100 of them.
"""

_EPILOG = """\
examples:
  scenetags query tagged/ "road and not cloudy"
  scenetags query tagged/ 'mine or "bare ground"' --min mine=0.8 --csv mines.csv
  scenetags query gs://results/amazon "habitation" --copy_to review/
  scenetags query tagged/ "not (clear or haze)" --paths | xargs -d '\\n' ls -l
  scenetags query tagged/ "not mine" --like chips/mine_7.jpg --top 100 --copy_to overlooked/
  scenetags query tagged/ --strangest --top 200 --link_to strange/
  scenetags query tagged/ "road" --max_novelty 0.99 --csv trusted_roads.csv

exit codes:
  0  done, even if no image was found
  1  some images could not be copied or linked; the first of them are named, and all others are there
  2  wrong usage, or no output that can be read
  130  interrupted by Ctrl-C; the same command resumes a copy
"""


def parse_query(argv: Sequence[str]) -> argparse.Namespace:
    """Read the flags of `scenetags query` from its arguments.

    Raises:
      UsageError: an argument is missing, malformed or out of its range, or does not go with another.
    """
    parser = _parser()
    # Intermixed: the expression may follow flags.
    flags, others = parser.parse_known_intermixed_args(argv)
    if others and flags.expression and not others[0].startswith("-"):
        raise UsageError(f"the expression has several words: {flags.expression} {others[0]} ...", "put it in quotes")
    parser.refuse(others, flags)
    _check(flags)
    return flags


def _parser() -> Parser:
    parser = Parser("scenetags query", _DESCRIPTION, _EPILOG)
    parser.usage = "%(prog)s OUTPUT [EXPRESSION] [flags]"
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    parser.add_argument("expression", metavar="EXPRESSION", nargs="?", help='e.g. "road and not cloudy"')
    for flag, meaning in (("--min", "at least"), ("--max", "at most")):
        parser.add_argument(
            flag,
            action="append",
            default=[],
            type=read_bound,
            metavar="LABEL=P",
            help=f"only images for which the probability of the label is {meaning} P, 0 to 1; repeatable",
        )
    for flag, meaning in (("--min_novelty", "at least"), ("--max_novelty", "at most")):
        parser.add_argument(flag, type=SHARE, metavar="P", help=f"only images whose novelty is {meaning} P, 0 to 1")
    ranked = parser.add_mutually_exclusive_group()
    ranked.add_argument(
        "--strangest", action="store_true", help="of these, only the images with the highest novelty, strangest first"
    )
    ranked.add_argument(
        "--like",
        metavar="IMAGE",
        help="of these, only the images that look most like this image of the output, the most similar first; "
        "needs embeddings, see predict --embeddings",
    )
    parser.add_argument("--top", type=at_least(1), metavar="N", help=f"how many of them (default {TOP})")
    group = parser.add_argument_group("what to do with the images (default: show counts and the first of them)")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--csv", type=place, metavar="FILE", help="write their rows as CSV; - for standard output")
    one.add_argument("--parquet", type=place, metavar="FILE", help="write their rows as Parquet")
    one.add_argument("--paths", action="store_true", help="print their paths, one per line")
    one.add_argument(
        "--copy_to",
        type=place,
        metavar="DIR",
        help="copy them into a folder, local or in a bucket, with their sub-folders; members of archives become "
        "files, and a scene is copied with all its files if any of its windows is found. Existing files stay, so "
        "the same command resumes",
    )
    one.add_argument("--link_to", type=place, metavar="DIR", help="likewise, but make symbolic links; for local files")
    one.add_argument("--fiftyone", type=place, metavar="FILE.json", help="write labels for FiftyOne")
    one.add_argument(
        "--label_studio", type=place, metavar="FILE.json", help="write tasks with predictions for Label Studio"
    )
    one.add_argument("--sql", action="store_true", help="print the statement that finds them, for DuckDB's shell")
    parser.add_argument(
        "--relative_to",
        metavar="DIR",
        help="where the images are now, if predict was run with --relative_to (default: where its last run found them)",
    )
    add_anonymous(
        parser, "read public buckets without credentials; credentials are used only for the bucket that is written to"
    )
    return parser


def _check(flags: argparse.Namespace) -> None:
    if flags.top is not None and flags.like is None and not flags.strangest:
        raise UsageError(
            f"--top {flags.top} needs --like or --strangest",
            "for the images with the highest probability of a label, use SQL: end the statement that --sql prints with "
            f"ORDER BY p_LABEL DESC LIMIT {flags.top}",
        )
    if flags.csv == "-" and sys.stdout.isatty():
        raise UsageError("--csv - prints control characters in names unescaped", "pipe it, or name a file")
    if flags.parquet == "-":
        raise UsageError("--parquet - would be a file of this name: only --csv goes to standard output", "name a file")
    for flag, path in (("--fiftyone", flags.fiftyone), ("--label_studio", flags.label_studio)):
        if path is not None:
            check_named(flag, path, (".json",))
    for flag, path in (("--csv", flags.csv), ("--parquet", flags.parquet), ("--copy_to", flags.copy_to)):
        if path is not None and not storage.can_be_written(path):
            raise UsageError(
                f"{flag} {path} cannot be written to", f"give a local path, or one in {' or '.join(storage.BUCKETS)}"
            )
    if flags.link_to is not None and storage.is_remote(flags.link_to):
        raise UsageError(f"--link_to {flags.link_to} is not a local folder", "use --copy_to")

"""`scenetags query`: find images by their tags, or strange ones, and list, copy or export them."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipelines import storage
from pipelines.commandline.execution import add_anonymous
from pipelines.commandline.files import open_bytes, open_named
from pipelines.commandline.parser import Parser, UsageError, at_least, print_error
from pipelines.commandline.printing import log, show, to_output
from pipelines.errors import ExitCode, ScenetagsError

if TYPE_CHECKING:
    from pipelines.results.selecting.copies import Outcome
    from pipelines.results.selecting.selection import Selection

_DESCRIPTION = """\
Find the images whose tags fit an expression, and list, copy or export them.

An expression has labels of the model, and, or, not, and parentheses; without one, all images are found. Labels with
spaces, or named like one of these words, stand in quotes. Images that failed have no tags, and are never found.
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

_NAME = "scenetags query"
_ROWS, _TAGS, _REASONS = 10, 20, 10
"""Shown at most."""
_TOP = 50
_OPENS = ("copy_to", "link_to", "fiftyone", "label_studio")
_WRITES = ("csv", "parquet", *_OPENS)
"""Flags that name what is written, and those for which the images must be found."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    try:
        flags = _parse(sys.argv[1:] if argv is None else argv)
        _check(flags)
        storage.use(storage.Access(anonymous=flags.anonymous))
        return _query(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser: argparse.ArgumentParser = _parser()
    flags, others = parser.parse_known_args(argv)
    if others and flags.expression and not others[0].startswith("-"):
        raise UsageError(f"the expression has several words: {flags.expression} {others[0]} ...", "put it in quotes")
    return parser.parse_args(argv)


def _parser() -> Parser:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    parser.add_argument("expression", metavar="EXPRESSION", nargs="?", help='e.g. "road and not cloudy"')
    for flag, meaning in (("--min", "at least"), ("--max", "at most")):
        parser.add_argument(
            flag,
            action="append",
            default=[],
            type=_read_bound,
            metavar="LABEL=P",
            help=f"only images for which the probability of the label is {meaning} P, 0 to 1; can be repeated",
        )
    for flag, meaning in (("--min_novelty", "at least"), ("--max_novelty", "at most")):
        parser.add_argument(
            flag, type=_read_share, metavar="P", help=f"only images whose novelty is {meaning} P, 0 to 1"
        )
    ranked = parser.add_mutually_exclusive_group()
    ranked.add_argument(
        "--strangest", action="store_true", help="of these, only the images of the largest novelty, the strangest first"
    )
    ranked.add_argument(
        "--like",
        metavar="IMAGE",
        help="of these, only the images that look most like this image of the output, the most similar first; "
        "needs embeddings, see predict --embeddings",
    )
    parser.add_argument("--top", type=at_least(1), metavar="N", help=f"how many of them (default {_TOP})")
    group = parser.add_argument_group("what to do with the images (default: show counts and the first of them)")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--csv", metavar="FILE", help="write their rows as CSV; - for standard output")
    one.add_argument("--parquet", metavar="FILE", help="write their rows as Parquet")
    one.add_argument("--paths", action="store_true", help="print their paths, one per line")
    one.add_argument(
        "--copy_to",
        metavar="DIR",
        help="copy them into a folder, local or in a bucket, with their sub-folders; members of archives become "
        "files, and a scene is copied with all its files if any of its windows is found. What is there stays, so "
        "that the same command resumes",
    )
    one.add_argument("--link_to", metavar="DIR", help="likewise, but make symbolic links; for local files")
    one.add_argument("--fiftyone", metavar="FILE.json", help="write labels for FiftyOne")
    one.add_argument("--label_studio", metavar="FILE.json", help="write tasks with predictions for Label Studio")
    one.add_argument("--sql", action="store_true", help="print the statement that finds them, for DuckDB's shell")
    parser.add_argument(
        "--relative_to",
        metavar="DIR",
        help="where the images are now, if predict was run with --relative_to (default: where its last run found them)",
    )
    add_anonymous(parser, "read public buckets without credentials")
    return parser


def _read_bound(text: str) -> tuple[str, float]:
    label, sign, bound = text.rpartition("=")
    try:
        probability = float(bound)
    except ValueError:
        probability = math.nan
    if not sign or not label or not 0 <= probability <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not LABEL=P with a probability from 0 to 1, e.g. road=0.8")
    return label, probability


def _read_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1, e.g. 0.99")
    return share


def _check(flags: argparse.Namespace) -> None:
    for flag in (*_WRITES, "relative_to"):
        if getattr(flags, flag) == "":
            raise UsageError(f"--{flag} is empty", "give it a path")
    if flags.top is not None and flags.like is None and not flags.strangest:
        raise UsageError(f"--top {flags.top} needs --like or --strangest")
    if flags.csv == "-" and sys.stdout.isatty():
        raise UsageError("--csv - prints names as they are, and a terminal obeys them", "pipe it, or name a file")
    for flag, path in (("--fiftyone", flags.fiftyone), ("--label_studio", flags.label_studio)):
        if path is not None and (storage.is_remote(path) or not path.lower().endswith(".json")):
            raise UsageError(f"{flag} {path} is not a local .json file")
    for flag, path in (("--csv", flags.csv), ("--parquet", flags.parquet), ("--copy_to", flags.copy_to)):
        if path is not None and (hint := storage.hint_at_scheme(path)):
            raise UsageError(f"{flag} {path} would be on this machine", hint)
        if path is not None and not storage.can_be_written(storage.plain(path)):
            raise UsageError(
                f"{flag} {path} cannot be written to", f"give a local path, or one in {' or '.join(storage.BUCKETS)}"
            )
    if flags.link_to is not None and storage.is_remote(flags.link_to):
        raise UsageError(f"--link_to {flags.link_to} is not a local folder", "use --copy_to")


def _query(flags: argparse.Namespace) -> int:
    try:
        # Imported here: NumPy, Arrow and DuckDB would make `--help` slow.
        from pipelines.results.selecting.selection import Bound, Novelty, most_like, select, strangest
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise UsageError("duckdb is not installed", "run pip install 'scenetags[results]'") from error
    from pyarrow import ArrowException

    from pipelines.results.outputs import NoOutputError, open_output
    from pipelines.results.outside import check_outside
    from pipelines.results.whereabouts import require_folder

    least, most = ([Bound(*bound) for bound in bounds] for bounds in (flags.min, flags.max))
    output = open_output(flags.output)
    for flag in _WRITES:
        check_outside(output, f"--{flag}", getattr(flags, flag))
    novelty = Novelty(flags.min_novelty, flags.max_novelty)
    selection = select(output, flags.expression, least, most, novelty, flags.relative_to)
    if flags.like is not None:
        selection = most_like(selection, flags.like, flags.top or _TOP)
    elif flags.strangest:
        selection = strangest(selection, flags.top or _TOP)
    if flags.paths or any(getattr(flags, flag) is not None for flag in _OPENS):
        require_folder(output, selection.whereabouts)
    if flags.sql:
        show(*selection.statement().split("\n"))
    elif flags.paths:
        _print_paths(selection)
    elif flags.copy_to is not None or flags.link_to is not None:
        return _copy(selection, flags)
    elif flags.csv or flags.parquet or flags.fiftyone or flags.label_studio:
        try:
            _write(selection, flags)
        except ArrowException as error:
            # A flipped bit in a footer, which has no checksum, makes other types of columns.
            reason = str(error).partition("\n")[0]
            raise NoOutputError(f"{flags.output} has columns that cannot be written ({reason})") from error
    else:
        show(*_describe(selection))
    return ExitCode.DONE


def _write(selection: Selection, flags: argparse.Namespace) -> None:
    from pipelines.results.selecting.handing_over import label_studio_interface, write_fiftyone, write_label_studio
    from pipelines.results.selecting.tables import write_csv, write_parquet

    if flags.csv == "-":
        with to_output():
            write_csv(selection, sys.stdout.buffer)
        return
    if flags.csv or flags.parquet:
        flag, write = ("--csv", write_csv) if flags.csv else ("--parquet", write_parquet)
        path = flags.csv or flags.parquet
        with open_bytes(flag, path) as file:
            rows = write(selection, file)
    else:
        flag, hand_over = ("--fiftyone", write_fiftyone) if flags.fiftyone else ("--label_studio", write_label_studio)
        path = flags.fiftyone or flags.label_studio
        with open_named(flag, path) as text:
            rows = hand_over(selection, text)
    show(f"{path}: {rows:,} images")
    if flags.label_studio:
        show(f"labelling interface: {label_studio_interface(selection)}")


def _print_paths(selection: Selection) -> None:
    batches = selection.read(["path"])
    paths = [selection.whereabouts.whole(path) for batch in batches for path in batch.column("path").to_pylist()]
    broken = next((path for path in paths if "\n" in path or "\r" in path), None)
    if broken is not None:
        raise UsageError(f"{broken!r} has a line break, which a list of lines cannot hold", "use --csv or --parquet")
    if sys.stdout.isatty():
        show(*paths)
        return
    with to_output():
        # As they are: for another program, nothing is escaped.
        sys.stdout.buffer.write("".join(f"{path}\n" for path in paths).encode())
        sys.stdout.buffer.flush()


def _copy(selection: Selection, flags: argparse.Namespace) -> int:
    from pipelines.results.selecting.copies import find_copies
    from pipelines.results.selecting.copying import copy, link

    folder = flags.link_to if flags.copy_to is None else flags.copy_to
    target = storage.normalize(folder)
    copies = find_copies(selection)
    outcomes = link(copies, target) if flags.copy_to is None else copy(copies, target)
    done: Counter[bool] = Counter()
    failed: list[Outcome] = []
    for outcome in tqdm(outcomes, total=len(copies.named) + len(copies.lost), unit=" files", disable=None, leave=False):
        if outcome.reason:
            failed.append(outcome)
        else:
            done[outcome.made] += 1
    made = "linked" if flags.copy_to is None else "copied"
    show(f"{folder}: {done[True]:,} {made}, {done[False]:,} already there, {len(failed):,} failed")
    if copies.rows != len(copies.named):
        files = f"{len(copies.named):,} file" + "s" * (len(copies.named) != 1)
        show(f"  {copies.rows:,} images were found, in {files}: windows are parts of their scene")
    for outcome in failed[:_REASONS]:
        log(f"{_NAME}: {outcome.source}: {outcome.reason}")
    if len(failed) > _REASONS:
        log(f"{_NAME}: and {len(failed) - _REASONS:,} more")
    if failed and not done and selection.whereabouts.relative:
        log(f"{_NAME}: if the images are not below {selection.whereabouts.folder} any more, give --relative_to")
    return ExitCode.STOPPED if failed else ExitCode.DONE


def _describe(selection: Selection) -> Iterator[str]:
    """Show the first images with what was asked about, and counts."""
    columns = [column.name for column in selection.shown]
    widths = [max(len(column.heading), 5) for column in selection.shown]
    ranking = selection.ranking if selection.ranking and selection.ranking.heading else None
    found, tags = 0, Counter[str]()
    for batch in selection.read(["path", "tags", *columns]):
        if found < _ROWS:
            if not found and batch.num_rows:
                heads = (f"{one.heading:>{width}}" for one, width in zip(selection.shown, widths, strict=True))
                yield "  ".join([*([f"{ranking.heading:>5}"] if ranking else []), *heads, "path"])
            for row in batch.slice(0, _ROWS - found).to_pylist():
                shown = (f"{row[column]:>{width}.3f}" for column, width in zip(columns, widths, strict=True))
                scores = [f"{ranking.scores[row['path']]:5.3f}"] if ranking else []
                yield "  ".join([*scores, *shown, row["path"]])
        found += batch.num_rows
        tags.update(tag for chosen in batch.column("tags").to_pylist() for tag in chosen)
    predictions, failures = selection.rows, selection.output.count_failures()
    if found > _ROWS:
        yield f"and {found - _ROWS:,} more"
    share = f" ({found / predictions:.1%})" if predictions else ""
    yield f"found: {found:,} of {predictions:,} images{share}"
    if tags:
        yield f"tags: {', '.join(f'{tag} {count:,}' for tag, count in tags.most_common(_TAGS))}"
    if failures:
        yield f"failures: {failures:,}, without tags"


if __name__ == "__main__":
    sys.exit(main())

"""`scenetags query`: find images by their tags, or strange ones, and list, copy or export them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipelines import storage
from pipelines.commandline.files import find_bucket, is_standard_output, open_bytes, open_named
from pipelines.commandline.parser import UsageError, print_error
from pipelines.commandline.printing import log, show, to_output
from pipelines.commandline.queries import OPENS, TOP, WRITES, parse_query
from pipelines.errors import ExitCode, ScenetagsError, quantity

if TYPE_CHECKING:
    from pipelines.results.selecting.copies import Outcome
    from pipelines.results.selecting.selection import Selection

_NAME = "scenetags query"
_ROWS, _TAGS, _REASONS = 10, 20, 10
"""Shown at most."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    try:
        flags = parse_query(sys.argv[1:] if argv is None else argv)
        signed = find_bucket(*(getattr(flags, flag) for flag in WRITES))
        storage.use(storage.Access(anonymous=flags.anonymous, signed=signed))
        return _query(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _query(flags: argparse.Namespace) -> int:
    # Imported here: NumPy, Arrow and DuckDB would make `--help` slow.
    from pyarrow import ArrowException

    from pipelines.results.files import NoOutputError
    from pipelines.results.outputs import open_output
    from pipelines.results.outside import check_outside
    from pipelines.results.selecting.selection import Bound, Novelty, most_like, select, strangest
    from pipelines.results.whereabouts import require_folder

    least, most = ([Bound(*bound) for bound in bounds] for bounds in (flags.min, flags.max))
    output = open_output(flags.output)
    for flag in WRITES:
        check_outside(output, f"--{flag}", getattr(flags, flag))
    novelty = Novelty(flags.min_novelty, flags.max_novelty)
    selection = select(output, flags.expression, least, most, novelty, flags.relative_to)
    if flags.like is not None:
        selection = most_like(selection, flags.like, flags.top or TOP)
    elif flags.strangest:
        selection = strangest(selection, flags.top or TOP)
    if flags.paths or any(getattr(flags, flag) is not None for flag in OPENS):
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
        stream = sys.stderr if is_standard_output(path) else sys.stdout
        with open_bytes(flag, path) as file:
            rows = write(selection, file)
    else:
        flag, hand_over = ("--fiftyone", write_fiftyone) if flags.fiftyone else ("--label_studio", write_label_studio)
        path, stream = flags.fiftyone or flags.label_studio, sys.stdout
        with open_named(flag, path) as text:
            rows = hand_over(selection, text)
    show(f"{path}: {quantity(rows, 'image')}", file=stream)
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
        images, files = quantity(copies.rows, "image was", "images were"), quantity(len(copies.named), "file")
        show(f"  {images} found, in {files}: windows are parts of their scene")
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
    yield f"found: {found:,} of {quantity(predictions, 'image')}{share}"
    if tags:
        yield f"tags: {', '.join(f'{tag} {count:,}' for tag, count in tags.most_common(_TAGS))}"
    if failures:
        yield f"failures: {failures:,}, without tags"


if __name__ == "__main__":
    sys.exit(main())

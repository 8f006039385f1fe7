"""`scenetags compare`: what changed from one output to another."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines import storage
from pipelines.commandline.execution import add_anonymous
from pipelines.commandline.files import check_named, find_bucket, write_named
from pipelines.commandline.numbers import between
from pipelines.commandline.parser import Parser, UsageError, place, print_error
from pipelines.commandline.printing import log, show
from pipelines.errors import ExitCode, ScenetagsError, quantity

if TYPE_CHECKING:
    from pipelines.output.footers import Footer
    from pipelines.results.comparing.comparison import Comparison
    from pipelines.results.outputs import Output

_DESCRIPTION = """\
Compare two outputs: of two models, at two sets of thresholds, or of one archive at two times.

Images are matched by their paths. For each tag, it counts the images in both outputs that kept, gained or lost the tag
from A to B, and says how far its probabilities moved.
"""

_EPILOG = """\
examples:
  scenetags compare tagged/ tagged-by-the-new-model/
  scenetags compare gs://results/2025 gs://results/2026 --tag road --tag habitation --json changes.json
  scenetags compare tagged/ candidate/ --max_changed 0.02 && echo 'the new model may go live'

--max_changed limits the share of tags that differ: of all tags that the images in both outputs have in A or in B, those
that are in only one of the two. Every tag of a label that only one of the models knows counts as different. With --tag,
only these tags count.

exit codes: 0 done, 2 wrong usage, or outputs that cannot be compared, 3 more tags differ than --max_changed allows,
130 interrupted by Ctrl-C.
"""

_NAME = "scenetags compare"
_NARROWEST = 9
"""Characters of a column of the table: room for 9,999,999 images."""
_EXAMPLES = 4
"""Images on the page for each tag that was gained, and for each that was lost."""
_SHOWN = 5
"""Largest changes on the screen; the JSON has more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    try:
        flags = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        _check(flags)
        return _compare(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _parser() -> Parser:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("a", metavar="A", help="the --output of predict, local or in a bucket")
    parser.add_argument("b", metavar="B", help="the output to compare it with")
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="NAME",
        help="a tag to look at; repeatable (default: all of both models)",
    )
    parser.add_argument(
        "--html",
        type=place,
        metavar="FILE.html",
        help="write a page with the figures, and with thumbnails of images whose tags or probabilities changed most, "
        "local or in a bucket",
    )
    parser.add_argument(
        "--json", type=place, metavar="FILE.json", help="write the figures as JSON, likewise; - for standard output"
    )
    parser.add_argument(
        "--max_changed",
        type=between(0, 1),
        metavar="SHARE",
        help="end with exit code 3 if a larger share of the tags differs, 0 to 1",
    )
    parser.add_argument(
        "--relative_to",
        metavar="DIR",
        help="folder below which the originals are now, if the rows of B have relative paths (default: as in its "
        "newest run)",
    )
    add_anonymous(
        parser, "read public buckets without credentials; credentials are used only for the bucket that is written to"
    )
    return parser


def _check(flags: argparse.Namespace) -> None:
    if flags.html:
        check_named("--html", flags.html, (".html", ".htm"))
    elif flags.relative_to is not None:
        raise UsageError("--relative_to needs --html", "add --html FILE.html")
    if flags.json not in (None, "-"):
        check_named("--json", flags.json, (".json",))


def _compare(flags: argparse.Namespace) -> int:
    signed = find_bucket(flags.html, flags.json)
    storage.use(storage.Access(anonymous=flags.anonymous, signed=signed))
    # Imported here: DuckDB and Arrow would make `--help` slow.
    from pipelines.results.comparing.comparison import compare
    from pipelines.results.outputs import open_output
    from pipelines.results.outside import check_outside
    from pipelines.results.whereabouts import find_whereabouts

    outputs = [open_output(path) for path in (flags.a, flags.b)]
    for output in outputs:
        check_outside(output, "--html", flags.html)
        check_outside(output, "--json", flags.json)
    footers = [output.footer() for output in outputs]
    whereabouts = find_whereabouts(outputs[1], footers[1], flags.relative_to) if flags.html else None
    comparison = compare(outputs, footers, _tags(flags.tag, footers), _EXAMPLES if flags.html else 0)
    described = {"a": _of(outputs[0], footers[0]), "b": _of(outputs[1], footers[1]), **comparison.described()}
    text = json.dumps(described, indent=2)
    stream = sys.stderr if flags.json == "-" else sys.stdout
    show(*_report(outputs, footers, comparison), file=stream)
    if flags.json == "-":
        show(*text.split("\n"))
    elif flags.json:
        write_named("--json", flags.json, f"{text}\n")
        show(f"figures: {flags.json}")
    if whereabouts:
        from pipelines.results.comparing.page import make_page

        write_named("--html", flags.html, make_page(outputs, footers, comparison, whereabouts))
        show(f"page: {flags.html}", file=stream)
    if flags.max_changed is not None and comparison.changed > flags.max_changed:
        log(
            f"{_NAME}: {comparison.changed:.2%} of the tags differ, more than --max_changed {flags.max_changed:g} "
            "allows",
            exit_code=int(ExitCode.TOO_MANY_CHANGES),
        )
        return ExitCode.TOO_MANY_CHANGES
    return ExitCode.DONE


def _tags(names: Sequence[str], footers: Sequence[Footer]) -> tuple[str, ...]:
    """Return the tags of these names, each once; refuse one that neither model knows."""
    from pipelines.results.labels import check_label

    known = tuple(dict.fromkeys(label for footer in footers for label in footer.labels))
    for name in names:
        check_label(name, known, "--tag", whose="either model")
    return tuple(dict.fromkeys(names))


def _of(output: Output, footer: Footer) -> dict[str, object]:
    return {
        "output": output.path,
        "bundle": footer.bundle,
        "precision": footer.precision,
        "thresholds": dict(zip(footer.labels, footer.thresholds, strict=True)),
        **({"rules": footer.rules.described()} if footer.rules else {}),
    }


def _report(outputs: Sequence[Output], footers: Sequence[Footer], comparison: Comparison) -> Iterator[str]:
    """Describe the differences, one line each."""
    from pipelines.results.comparing.comparison import differing

    images, different = comparison.images, differing(footers)
    yield f"A: {outputs[0].path}"
    yield f"B: {outputs[1].path}"
    yield f"different: {', '.join(different)}" if different else "same model, precision, thresholds and rules"
    if moved := _moved_thresholds(footers):
        more = f", and {len(moved) - _SHOWN:,} more" * (len(moved) > _SHOWN)
        yield f"thresholds: {', '.join(moved[:_SHOWN])}{more}"
    for name, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            yield f"labels that only the model of {name} knows: {', '.join(labels)}"
    yield (
        f"images: {images.both:,} in both ({images.replaced:,} with a changed file), "
        f"{images.only_a:,} only in A ({images.failed_in_b:,} failed in B), "
        f"{images.only_b:,} only in B ({images.failed_in_a:,} failed in A)"
    )
    yield (
        f"changed: {comparison.changed:.2%} of the tags, in {quantity(images.other_tags, 'image')} "
        f"({images.other_tags / images.both:.2%})"
    )
    yield from _table(comparison)
    if comparison.largest:
        yield "largest changes of a probability:"
    for change in comparison.largest[:_SHOWN]:
        yield f"  {change.tag} {change.a:.3f} to {change.b:.3f}: {change.path}"


def _moved_thresholds(footers: Sequence[Footer]) -> list[str]:
    """Describe the thresholds of labels that both models have, where they differ."""
    a, b = (dict(zip(footer.labels, footer.thresholds, strict=True)) for footer in footers)
    return [f"{label} {a[label]:.4g} to {b[label]:.4g}" for label in a if label in b and a[label] != b[label]]


def _table(comparison: Comparison) -> Iterator[str]:
    width = max(len("tag"), *(len(tag.tag) for tag in comparison.tags))
    titles = ("in A", "in B", "kept", "gained", "lost", "mean change of p", "largest change of p")
    widths = [max(len(title), _NARROWEST) for title in titles]
    yield f"{'tag':{width}}  " + "  ".join(map(str.rjust, titles, widths))
    for tag in comparison.tags:
        rates = [f"{rate:.2%}" for rate in comparison.rates(tag)]
        counts = [f"{number:,}" for number in (tag.kept, tag.gained, tag.lost)]
        changes = ["" if change is None else f"{change:.4f}" for change in (tag.mean_change, tag.largest_change)]
        yield f"{tag.tag:{width}}  " + "  ".join(map(str.rjust, (*rates, *counts, *changes), widths)).rstrip()


if __name__ == "__main__":
    sys.exit(main())

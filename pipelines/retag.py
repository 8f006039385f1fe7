"""`scenetags retag`: give the predictions of an output new tags, without the model."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines import storage
from pipelines.commandline.parser import Parser, UsageError, add_switch, print_error, print_stopped, read_bound
from pipelines.commandline.printing import announce, log, show
from pipelines.credentials import url_without_secrets
from pipelines.errors import ExitCode, ScenetagsError, quantity
from pipelines.inference.rules import Rules
from pipelines.supervision import interruption

if TYPE_CHECKING:
    from pipelines.output.footers import Footer
    from pipelines.output.retagging import Changes, Retagging

_DESCRIPTION = """\
Give the images of an output new tags by other thresholds or rules. This takes the stored probabilities, not the model.

Only the column `tags` and the footers of predictions/ change. All files are rewritten before the first one is replaced;
if the command is killed while it replaces them, run it again to finish. The next `predict` into the output tags new
images with the same thresholds and rules.
"""

_EPILOG = """\
examples:
  New thresholds for some labels; for all labels; for each label, from a file; and those of the bundle again:
    scenetags retag tagged/ --threshold road=0.1 --threshold water=0.4
    scenetags retag tagged/ --thresholds 0.3
    scenetags retag tagged/ --thresholds thresholds.json      {"clear": 0.3, "cloudy": 0.55, ...}
    scenetags retag tagged/ --from bundle/

  At most one tag for the weather, and `cloudy` alone; first, only count what would change:
    scenetags retag tagged/ --exclusive clear,partly_cloudy,cloudy,haze --alone cloudy --dry_run

Rules are not cumulative: those that the command does not name are dropped. Thresholds that it does not name stay.

exit codes:
  0  done, or the output had these thresholds and rules already, and nothing was written
  1  stopped before the end, e.g. by a full disk; the same command finishes it
  2  wrong usage, or an output that cannot be changed; nothing was written
  130, 143  interrupted by Ctrl-C or SIGTERM; the old tags stay
"""

_NAME = "scenetags retag"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    try:
        flags = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        with interruption.deferred(announce):
            return _retag(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _parser() -> Parser:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--thresholds",
        metavar="FILE|VALUE",
        help="minimum probability for a tag, 0 to 1: a number for all labels, or a JSON file with one for each; the "
        "manifest of a bundle or of a run is accepted, too. For a file whose name is a number, write ./0.5",
    )
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        type=_read_threshold,
        metavar="LABEL=P",
        help="minimum probability for this label, e.g. road=0.1; other labels keep theirs, or take those of "
        "--thresholds or --from; repeatable",
    )
    source.add_argument("--from", dest="bundle", metavar="BUNDLE", help="take the thresholds of a bundle")
    parser.add_argument(
        "--exclusive",
        action="append",
        default=[],
        type=_read_group,
        metavar="LABEL,LABEL,...",
        help="of these labels, an image gets only the most probable one that reaches its threshold; quote a label "
        "that contains a comma, as in a CSV file; repeatable",
    )
    parser.add_argument(
        "--alone",
        action="append",
        default=[],
        metavar="LABEL",
        help="an image with this tag gets no other one; applied after --exclusive; repeatable",
    )
    add_switch(parser, "--dry_run", "count what would change, and write nothing")
    return parser


def _read_threshold(text: str) -> tuple[str, float]:
    if "=" not in text:
        raise argparse.ArgumentTypeError(
            f"{text} is not LABEL=P, e.g. road=0.1; for all labels at once, use --thresholds {text}"
        )
    return read_bound(text)


def _read_group(text: str) -> tuple[str, ...]:
    try:
        labels = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a line of CSV: {error}") from None
    if len(set(labels)) < max(2, len(labels)):
        raise argparse.ArgumentTypeError(f"{text!r} does not name two or more different labels")
    return tuple(labels)


def _retag(flags: argparse.Namespace) -> int:
    rules = Rules(tuple(flags.exclusive), tuple(dict.fromkeys(flags.alone)))
    keeps = flags.thresholds is None and flags.bundle is None
    if keeps and not flags.threshold and not rules:
        raise UsageError("nothing to change", "give --threshold, --thresholds, --from, --exclusive or --alone")
    # Imported here: NumPy and Arrow would make `--help` slow.
    from pipelines.output.retagging import Retagging, rehearse_retagging, retag
    from pipelines.output.run import new_run_name
    from pipelines.results.outputs import open_output
    from pipelines.results.states import check_finished
    from pipelines.supervision.temporary import temporary_files

    output = open_output(flags.output)
    if not storage.can_be_written(output.path):
        raise UsageError(f"{flags.output} cannot be changed", "name a local folder, or one in gs:// or in s3://")
    if flags.dry_run:
        # Otherwise it is finished first.
        check_finished(output.path)
    # The first footer shows that it is an output, before anything is written; under the lock, all are looked at.
    footer = output.first_footer()
    run = Retagging(
        new_run_name(),
        output.path,
        footer.bundle,
        footer.labels,
        _adjusted(_thresholds(flags, footer), flags, footer),
        rules=_checked(rules, footer),
        kept=footer.thresholds if keeps else None,
        options={
            "thresholds": flags.thresholds and url_without_secrets(flags.thresholds),
            "threshold": dict(flags.threshold),
            "from": flags.bundle and url_without_secrets(flags.bundle),
        },
    )
    try:
        with temporary_files():
            changes = rehearse_retagging(run) if flags.dry_run else retag(run)
    except interruption.InterruptedRunError as error:
        log(f"{_NAME}: {error}; the old tags stay", exit_code=int(error.exit_code))
        return error.exit_code
    except OSError as error:
        return print_stopped(_NAME, error, "run the same command again to finish")
    if changes is None:
        show(f"{output.path} has these thresholds{' and rules' * bool(rules)} already; nothing was written")
    else:
        show(*_report(run, footer, changes, flags.dry_run))
    return ExitCode.DONE


def _thresholds(flags: argparse.Namespace, footer: Footer) -> tuple[float, ...]:
    """Return the thresholds that the flags name, in the order of the output's labels."""
    from pipelines.inference.bundle import load_bundle
    from pipelines.results.thresholds import ThresholdsError, read_thresholds

    if flags.thresholds is not None:
        if flags.thresholds.rpartition("=")[0] in footer.labels:
            raise UsageError(f"--thresholds {flags.thresholds} is for one label", "use --threshold")
        return read_thresholds(flags.thresholds, footer.labels)
    if flags.bundle is None:
        return footer.thresholds
    bundle = load_bundle(flags.bundle)
    if set(bundle.labels) != set(footer.labels):
        raise ThresholdsError(f"--from {flags.bundle}: its labels are not those of the output", "give its own bundle")
    if bundle.digest != footer.bundle:
        log(f"{_NAME}: {flags.bundle} is not the bundle that made these predictions", severity="WARNING")
    by_label = dict(zip(bundle.labels, bundle.thresholds, strict=True))
    return tuple(by_label[label] for label in footer.labels)


def _adjusted(thresholds: Sequence[float], flags: argparse.Namespace, footer: Footer) -> tuple[float, ...]:
    """Return thresholds with those in place that are given one by one."""
    from pipelines.results.labels import check_label

    given = dict(flags.threshold)
    for label, threshold in flags.threshold:
        check_label(label, footer.labels, f"--threshold {label}={threshold:g}")
        if threshold != given[label]:
            raise UsageError(f"--threshold {label} is given twice, as {threshold:g} and {given[label]:g}", "choose one")
    adjusted = {**dict(zip(footer.labels, thresholds, strict=True)), **dict(flags.threshold)}
    return tuple(adjusted[label] for label in footer.labels)


def _checked(rules: Rules, footer: Footer) -> Rules:
    """Return the rules; refuse those that name what is no label of the output's model."""
    from pipelines.results.labels import check_label

    for group in rules.exclusive:
        for label in group:
            check_label(label, footer.labels, f"--exclusive {','.join(group)}")
    for label in rules.alone:
        check_label(label, footer.labels, "--alone")
    return rules


def _report(run: Retagging, before: Footer, changes: Changes, rehearsed: bool) -> Iterator[str]:
    """Describe the changes, one line each."""
    got = "would get" if rehearsed else "got"
    yield f"{run.output}: {changes.changed:,} of {quantity(changes.rows, 'prediction')} {got} different tags"
    if before.rules != run.rules:
        yield f"rules: {run.rules or 'none'} (before: {before.rules or 'none'})"
    width = max(map(len, (*run.labels, "tag")))
    yield f"{'tag':{width}}  {'threshold':>16}  {'before':>11}  {'gained':>11}  {'lost':>11}  {'after':>11}"
    counts = zip(changes.before, changes.gained, changes.lost, changes.after, strict=True)
    thresholds = zip(before.thresholds, run.thresholds, strict=True)
    for label, (old, new), numbers in zip(run.labels, thresholds, counts, strict=True):
        threshold = f"{old:.4g}" + f" to {new:.4g}" * (old != new)
        yield f"{label:{width}}  {threshold:>16}  " + "  ".join(f"{number:>11,}" for number in numbers)
    if rehearsed:
        yield "dry run: nothing was written"


if __name__ == "__main__":
    sys.exit(main())

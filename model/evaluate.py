"""`scenetags evaluate`: measure predictions against labels."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model.quality.fbeta import add_beta
from pipelines.commandline.labels import add_labels, read_label_source
from pipelines.commandline.parser import Parser, UsageError, place, print_error
from pipelines.commandline.printing import discard_output, show, to_output
from pipelines.errors import ExitCode, ScenetagsError

if TYPE_CHECKING:
    from model.quality.reliability import Reliability
    from pipelines.labels import LabelSource

_DESCRIPTION = """\
Measure predictions against labels.

Tags are those that `predict` chose, at the thresholds of its run; average precision is computed from the
probabilities and depends on no threshold. Images are matched with the rows of the label file by name, with or without
extension. Only images that have both a prediction and a row are measured; all others are counted and reported.
Labels of the model that the label file does not have are not measured, and are reported, as are tags that no image was
given, and images that the model has learnt from: as long as bundle and images are where predict found them, up to 1,000
are compared, or 200 in a bucket.
"""
_EPILOG = """\
measures, from 0 to 1:
  F2 over samples         computed per image, then averaged; recall weighs four times as much as precision, or as
                          --beta says
  F1 micro, F1 macro      over all tags together; averaged over the labels that occur
  mean average precision  averaged over the labels that occur and that the model knows

how far probabilities can be taken at their word, over all images and the labels that the model knows:
  expected calibration error  probabilities are put into 15 equal bins; mean distance, over all of them, between the
                              average of a bin and the share that has the label. Few images make it larger: on 120,
                              perfect probabilities of 17 labels have 0.013
  Brier score                 mean squared distance from the truth, 0 or 1
  log loss                    mean binary cross-entropy, in nats

--json writes one object with these keys:
  model, computed_in                   digest of the bundle that predicted; float32 or bfloat16
  predictions, label_file              the arguments as given
  images, failed_images                images measured; labelled images that predict failed on, not measured
  unknown_labels                       labels in the file that the model does not know, counted as missed
  never_given                          labels of the model that no image measured has as a tag, each with the reason
  findings                             problems found: a list of {what, count, names}, with the first few names
  beta                                 that of --beta
  f2_over_samples                      f1_over_samples with --beta 1, f0_5_over_samples with --beta 0.5
  micro_f1, macro_f1, mean_average_precision
  expected_calibration_error, brier_score, log_loss
  bins                                 those that are not empty: lowest, highest, count, probability (their average)
                                       and share (that has the label)
  labels                               by name: support, predicted, precision, recall, average_precision,
                                       highest_probability
An undefined measure, such as the recall of a label that no image has, is null.

examples:
  scenetags evaluate tagged/ --labels train_v2.csv --picture reliability.png
  scenetags evaluate tagged/ --labels train_v2.csv --json - | jq .f2_over_samples

exit codes:
  0  done
  2  wrong usage or unusable data, explained in one line
  130  interrupted by Ctrl-C
"""

_NAME = "scenetags evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        flags = _parse(sys.argv[1:] if argv is None else argv)
        # Imported here: NumPy and Arrow would make `--help` slow.
        from model.data.recognition import find_learnt
        from model.quality.evaluation import describe, evaluate, lay_out
        from pipelines.commandline.files import write_named

        source = read_label_source(flags)
        assert source  # the parser requires it
        _check_written(flags, source)
        evaluation = evaluate(flags.predictions, source, flags.beta)
        learnt = find_learnt(evaluation.bundle, evaluation.model, evaluation.files)
        if learnt is not None:
            evaluation = evaluation._replace(findings=(learnt, *evaluation.findings))
        # JSON has escapes of its own for what a terminal must not get.
        text = json.dumps(
            describe(evaluation, flags.predictions, source),
            indent=2,
            ensure_ascii=flags.json == "-",
            allow_nan=False,
        )
        if flags.json not in (None, "-"):
            write_named("--json", flags.json, f"{text}\n")
        if flags.picture:
            _draw(evaluation.reliability, flags.picture)
        if flags.json == "-":
            with to_output():
                print(text)
        else:
            show(*lay_out(evaluation))
        for what, path in (("figures", flags.json), ("picture", flags.picture)):
            if path not in (None, "-"):
                show(f"{what}: {path}", file=sys.stderr if flags.json == "-" else None)
        with to_output():
            # Python would report it in words of its own that nobody takes the last lines.
            sys.stdout.flush()
    except ScenetagsError as error:
        return print_error(_NAME, error)
    except BrokenPipeError:
        discard_output()  # nobody reads the rest, as in `| head`
        return 128 + signal.SIGPIPE
    return ExitCode.DONE


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the flags; the output is in `predictions`, however it was given."""
    parser = _parser()
    # Intermixed: the output may follow flags.
    flags, others = parser.parse_known_intermixed_args(argv)
    parser.refuse(others, flags)
    if flags.output is not None and flags.predictions is not None:
        raise UsageError("OUTPUT and --predictions are the same, and both are given", "omit one of them")
    flags.predictions = flags.predictions if flags.output is None else flags.output
    if flags.predictions is None:
        raise UsageError("OUTPUT is missing", "name the --output of predict")
    return flags


def _check_written(flags: argparse.Namespace, source: LabelSource) -> None:
    """Refuse to write into the output that is measured, or over its labels, before anything is read."""
    from pipelines.commandline.files import check_named
    from pipelines.results.outputs import open_output
    from pipelines.results.outside import check_outside

    named = [("--json", flags.json, ".json"), ("--picture", flags.picture, ".png")]
    written = [(flag, path, ending) for flag, path, ending in named if path not in (None, "-")]
    for flag, path, ending in written:
        check_named(flag, path, (ending,))
        if os.path.realpath(path) in map(os.path.realpath, source.paths):
            raise UsageError(f"{flag} {path}: would replace the labels", "choose another file")
    if written:
        output = open_output(flags.predictions)
        for flag, path, _ in written:
            check_outside(output, flag, path)
    if flags.picture and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--picture needs matplotlib", "run pip install 'scenetags[train]'")


def _draw(reliability: Reliability, picture: str) -> None:
    from model.quality.curves import draw_reliability
    from pipelines.commandline.files import open_bytes

    with open_bytes("--picture", picture) as file:
        file.write(draw_reliability(reliability))


def _parser() -> Parser:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.usage = "%(prog)s OUTPUT --labels FILE [flags]"
    parser.add_argument("output", metavar="OUTPUT", nargs="?", help="the --output of predict, local or in a bucket")
    target = "write the measures to this file as JSON (- for standard output, without the table)"
    parser.add_argument("--predictions", metavar="OUTPUT", help="the same, in place of OUTPUT")
    parser.add_argument("--json", type=place, metavar="FILE.json", help=target)
    drawing = "also draw the reliability diagram: how often labels are there against the probability given"
    parser.add_argument("--picture", type=place, metavar="FILE.png", help=drawing)
    add_beta(parser, "measure images")
    add_labels(parser, "what the images should be tagged with")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`scenetags evaluate`: measure what `predict` wrote against labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines import storage
from pipelines.commandline.parser import Parser, UsageError, report
from pipelines.errors import ScenetagsError

_DESCRIPTION = """\
Measure predictions against labels.

Tags are taken as `predict` chose them, by the thresholds of its run; average precision comes from the probabilities
and depends on no threshold. Images are matched with the rows of the label file by their names, with or without
extension. Only images that have both a prediction and a row are measured; what is left out is counted and named.
"""
_EPILOG = """\
measures, each 0 to 1:
  F2 over samples         of each image's tags, averaged over images; recall weighs four times precision
  F1 micro, F1 macro      of all tags together; averaged over the labels that occur
  mean average precision  averaged over the labels that occur and that the model knows

--json writes one object with the keys:
  model, predictions, label_file       digest of the bundle that predicted; what was measured, as given
  images, failed_images                images measured; images with a row at which predict failed, not measured
  unknown_labels                       labels of the file that the model does not know, counted as missed
  findings                             what was amiss: a list of {what, count, names}, with the first few names
  f2_over_samples, micro_f1, macro_f1, mean_average_precision
  labels                               by name: support, predicted, precision, recall, average_precision
A measure that is not defined, such as the recall of a label that no image has, is null.

examples:
  scenetags evaluate --predictions out --labels train_v2.csv
  scenetags evaluate --predictions out --labels train_v2.csv --json - | jq .f2_over_samples

exit codes:
  0  done
  2  wrong usage or unusable data, in one line
"""

_NAME = "scenetags evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        flags = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        # Imported here: NumPy and Arrow take longer than `--help` should.
        from model.quality.evaluation import describe, evaluate, lay_out

        evaluation = evaluate(flags.predictions, flags.labels)
        if flags.json is not None:
            _write_json(flags.json, describe(evaluation, flags.predictions, flags.labels))
        if flags.json != "-":
            print("\n".join(lay_out(evaluation)))
    except ScenetagsError as error:
        return report(_NAME, error)
    return 0


def _write_json(target: str, described: dict[str, Any]) -> None:
    text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
    if target == "-":
        print(text)
        return
    path = Path(target)
    try:
        # A folder that is not there is a slip of the pen, and is not made.
        path.parent.stat()
        storage.write(str(path.absolute()), f"{text}\n".encode())
    except OSError as error:
        raise UsageError(f"argument --json: cannot write {target}: {error.strerror or error}") from error


def _parser() -> Parser:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    folder = "the --output of predict, or its folder predictions"
    file = "label file: image_name,tags or one column per label"
    target = "write the measures here as JSON; - for standard output, without the table"
    parser.add_argument("--predictions", required=True, metavar="DIR", help=folder)
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help=file)
    parser.add_argument("--json", metavar="FILE", help=target)
    return parser


if __name__ == "__main__":
    sys.exit(main())

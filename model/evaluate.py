"""The `evaluate` command: measure what `predict` wrote against labels."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import labels, metrics
from model.commandline import Parser, UsageError
from model.labels import Finding
from pipelines import storage

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


class PredictionsError(ValueError):
    """A folder whose predictions cannot be measured; the message is one line for the user."""


class Predictions(NamedTuple):
    """What predict wrote into a folder: N images, L labels of the model.

    Attributes:
      model: digest of the bundle.
      labels: L names, in the order of the bundle.
      paths: of the N images.
      tags: of each image.
      probabilities: float32 [N, L].
      failed_paths: inputs at which predict failed.
      findings: what was amiss.
    """

    model: str
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    probabilities: NDArray[np.float32]
    failed_paths: tuple[str, ...]
    findings: tuple[Finding, ...]


class Evaluation(NamedTuple):
    """What was measured, and what was not.

    Attributes:
      model: digest of the bundle that predicted.
      scores: of the images that have both a prediction and a row.
      failed_paths: of images that have a row, and at which predict failed; they are not measured.
      unknown_labels: labels of the file that the model does not know; they count as missed.
      findings: what was amiss.
    """

    model: str
    scores: metrics.Scores
    failed_paths: tuple[str, ...]
    unknown_labels: tuple[str, ...]
    findings: tuple[Finding, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        flags = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        evaluation = evaluate(flags.predictions, flags.labels)
        if flags.json is not None:
            _write_json(flags.json, _described(evaluation, flags.predictions, flags.labels))
        if flags.json != "-":
            print("\n".join(_report(evaluation)))
    except (UsageError, PredictionsError, labels.LabelError, storage.NoAccessError) as error:
        print(f"scenetags evaluate: {error}", file=sys.stderr)
        return 2
    return 0


def evaluate(folder: str, label_file: Path) -> Evaluation:
    """Measure the predictions in a folder against a label file.

    Raises:
      PredictionsError: the folder does not hold the predictions of one model.
      LabelError: the label file cannot be used, or has no row for any predicted image.
    """
    predicted = read_predictions(folder)
    file = labels.read_labels(label_file, predicted.labels)
    failed = set(predicted.failed_paths)
    matched = labels.match(file.rows, (*predicted.paths, *predicted.failed_paths), folder)
    truth = {path: tags for path, tags in zip(matched.paths, matched.tags, strict=True) if path not in failed}
    if not truth:
        raise labels.LabelError(f"{label_file}: names only images at which predict failed; there is nothing to measure")
    unknown = tuple(label for label in labels.vocabulary(truth.values()) if label not in predicted.labels)
    every = (*predicted.labels, *unknown)
    row_of = {path: row for row, path in enumerate(predicted.paths)}
    rows = [row_of[path] for path in truth]
    # A label that the model does not know has no probability, rather than one of 0.
    without = np.full((len(rows), len(unknown)), np.nan, np.float32)
    scores = metrics.measure(
        every,
        labels.multi_hot(list(truth.values()), every) > 0,
        labels.multi_hot([predicted.tags[row] for row in rows], every) > 0,
        np.concatenate([predicted.probabilities[rows], without], axis=1),
    )
    return Evaluation(
        model=predicted.model,
        scores=scores,
        failed_paths=tuple(path for path in matched.paths if path in failed),
        unknown_labels=unknown,
        findings=(*predicted.findings, *file.findings, *matched.findings),
    )


def read_predictions(folder: str) -> Predictions:
    """Read what predict wrote.

    Args:
      folder: its output, or the folder `predictions` in there.

    Raises:
      PredictionsError: there is no such folder, or it does not hold the predictions of one model.
    """
    try:
        output = storage.normalize(folder)
    except storage.UnsupportedStorageError as error:
        raise PredictionsError(f"argument --predictions: {error}") from error
    if not storage.is_remote(output) and not os.path.isdir(output):
        raise PredictionsError(f"argument --predictions: no folder at {folder}")
    if os.path.basename(output) == "predictions":
        output = os.path.dirname(output)
    try:
        files, failure_files = (
            storage.list_files(storage.join(output, of), ".parquet") for of in ("predictions", "failures")
        )
    except OSError as error:
        raise PredictionsError(f"argument --predictions: cannot list {folder}: {error.strerror or error}") from error
    if not files:
        reason = "predict failed at every image" if failure_files else "name what predict was given as --output"
        raise PredictionsError(f"{folder}: no file predictions/*.parquet: {reason}")
    tables = [_read_table(file) for file in files]
    footers = [_footer(table, file) for table, file in zip(tables, files, strict=True)]
    for key, what in (("bundle", "several models"), ("thresholds", "several thresholds")):
        if any(footer[key] != footers[0][key] for footer in footers):
            raise PredictionsError(f"{folder}: holds the predictions of {what}; measure each in a folder of its own")
    names = tuple(footers[0]["labels"])
    paths = [path for table in tables for path in table["path"].to_pylist()]
    tags = [frozenset(of_image) for table in tables for of_image in table["tags"].to_pylist()]
    probabilities = [np.stack([table[f"p_{name}"].to_numpy() for name in names], axis=1) for table in tables]
    failed = [path for file in failure_files for path in _read_table(file)["path"].to_pylist()]
    # The names of files begin with the time of their run, so that the last row of an image is its newest. There are
    # two when a run was stopped while it replaced rows.
    newest = {path: row for row, path in enumerate(paths)}
    doubled = [path for row, path in enumerate(paths) if newest[path] != row]
    return Predictions(
        model=footers[0]["bundle"],
        labels=names,
        paths=tuple(newest),
        tags=tuple(tags[row] for row in newest.values()),
        probabilities=np.concatenate(probabilities)[list(newest.values())],
        failed_paths=tuple(path for path in dict.fromkeys(failed) if path not in newest),
        findings=(Finding("images predicted twice, the newer row counted", tuple(doubled)),) if doubled else (),
    )


def _read_table(file: str) -> Any:
    """Read what is to be measured of a Parquet file, as a `pyarrow.Table`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(pa.BufferReader(storage.read(file)))
        names = opened.schema_arrow.names
        table = opened.read(columns=[name for name in names if name in ("path", "tags") or name.startswith("p_")])
    except (OSError, pa.ArrowException) as error:
        raise PredictionsError(f"{file}: not a Parquet file, or damaged: {_plain(str(error))}") from error
    if "path" not in table.column_names:
        raise PredictionsError(f"{file}: not written by predict: has no column path")
    return table


def _footer(table: Any, file: str) -> dict[str, Any]:
    """Read which model has predicted a table, and make sure that the table holds what it has predicted."""
    try:
        footer: dict[str, Any] = json.loads((table.schema.metadata or {})[b"scenetags"])
        columns = {"path", "tags", *(f"p_{label}" for label in footer["labels"])}
        complete = footer.keys() >= {"bundle", "thresholds"} and columns <= set(table.column_names)
    except (AttributeError, KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise PredictionsError(f"{file}: not written by predict: its footer names no model, or columns are missing")
    return footer


def _described(evaluation: Evaluation, folder: str, label_file: Path) -> dict[str, Any]:
    findings = [
        {"what": finding.what, "count": len(finding.names), "names": finding.names[: labels.NAMES_SHOWN]}
        for finding in evaluation.findings
    ]
    return {
        "model": evaluation.model,
        "predictions": folder,
        "label_file": str(label_file),
        "failed_images": len(evaluation.failed_paths),
        "unknown_labels": evaluation.unknown_labels,
        "findings": findings,
        **evaluation.scores.to_json(),
    }


def _write_json(target: str, described: dict[str, Any]) -> None:
    text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
    if target == "-":
        print(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"argument --json: cannot write {target}: {error.strerror or error}") from error


def _report(evaluation: Evaluation) -> Iterator[str]:
    """Tell people what was measured, as lines of at most 100 columns but for the names of images and labels."""
    scores = evaluation.scores
    yield f"{scores.images:,} images measured, predicted by the model {evaluation.model[:12]}"
    yield from map(str, evaluation.findings)
    if evaluation.failed_paths:
        yield str(Finding("labelled images at which predict failed, not measured", evaluation.failed_paths))
    if evaluation.unknown_labels:
        yield f"labels the model does not know, counted as missed: {', '.join(map(_plain, evaluation.unknown_labels))}"
    yield ""
    yield from metrics.report(scores)


def _plain(text: str) -> str:
    """Put a text on one line, whatever white space it holds."""
    return " ".join(text.split())


def _parser() -> Parser:
    parser = Parser(
        prog="scenetags evaluate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    folder = "the --output of predict, or its folder predictions"
    file = "label file: image_name,tags or one column a label"
    target = "write the measures here as JSON; - for standard output, without the table"
    parser.add_argument("--predictions", required=True, metavar="DIR", help=folder)
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help=file)
    parser.add_argument("--json", metavar="FILE", help=target)
    return parser


if __name__ == "__main__":
    sys.exit(main())

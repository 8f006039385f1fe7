"""Measure the predictions of an output against a label file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.quality import metrics, reliability
from model.quality.fbeta import BETA
from model.quality.never_given import find_never_given, lay_out_never_given
from model.quality.reliability import Reliability
from pipelines import labels
from pipelines.errors import quantity
from pipelines.labels import Finding, LabelSource
from pipelines.results.files import Manifest, NoOutputError
from pipelines.results.outputs import Output, open_output
from pipelines.results.whereabouts import Whereabouts, find_whereabouts


class Predictions(NamedTuple):
    """The predictions in a folder: N images, L labels of the model.

    Attributes:
      model: digest of the bundle.
      bundle: where it was when it predicted; empty if no manifest says so.
      whereabouts: of the images.
      computed_in: `float32` or `bfloat16`.
      labels: L names, in the order of the bundle.
      thresholds: of the L labels.
      paths: of the N images.
      tags: of each image.
      probabilities: float32 [N, L].
      failed_paths: inputs that predict failed on.
    """

    model: str
    bundle: str
    whereabouts: Whereabouts
    computed_in: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    paths: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    probabilities: NDArray[np.float32]
    failed_paths: tuple[str, ...]


class Evaluation(NamedTuple):
    """What was measured, and what could not be.

    Attributes:
      model: digest of the bundle that predicted.
      bundle: where it was when it predicted; empty if no manifest says so.
      files: of the images measured, by their whole paths; those of rows with relative paths only if their folder is
        known.
      computed_in: `float32` or `bfloat16`.
      scores: of the images that have both a prediction and a row.
      reliability: of their probabilities of the labels that the model knows.
      failed_paths: of images with a row that predict failed on; they are not measured.
      unknown_labels: labels in the file that the model does not know; they count as missed.
      never_given: labels of the model that no measured image has as a tag, each with the reason.
      findings: problems found.
    """

    model: str
    bundle: str
    files: tuple[str, ...]
    computed_in: str
    scores: metrics.Scores
    reliability: Reliability
    failed_paths: tuple[str, ...]
    unknown_labels: tuple[str, ...]
    never_given: dict[str, str]
    findings: tuple[Finding, ...]


def evaluate(folder: str, source: LabelSource, beta: float = BETA) -> Evaluation:
    """Measure the predictions in a folder against labels.

    A label of the model that the files do not have is not measured: nobody knows whether its tags are right.

    Raises:
      NoOutputError: the folder does not contain the predictions of one model.
      LabelError: the label files cannot be used, or have no row for any predicted image, or no label of the model.
    """
    predicted = read_predictions(folder)
    images = (*predicted.paths, *predicted.failed_paths)
    file = labels.read_labels(source, predicted.labels, images)
    failed = set(predicted.failed_paths)
    matched = labels.match(file.rows, images, folder)
    truth = {path: tags for path, tags in zip(matched.paths, matched.tags, strict=True) if path not in failed}
    if not truth:
        raise labels.LabelError(
            f"{source}: names only images that predict failed on", "add rows of images that have predictions"
        )
    unknown = tuple(label for label in labels.vocabulary(truth.values()) if label not in predicted.labels)
    every = (*predicted.labels, *unknown)
    row_of = {path: row for row, path in enumerate(predicted.paths)}
    rows = [row_of[path] for path in truth]
    # A label that the model does not know has no probability, which is not the same as 0.
    without = np.full((len(rows), len(unknown)), np.nan, np.float32)
    has = labels.multi_hot(list(truth.values()), every) > 0
    tagged = labels.multi_hot([predicted.tags[row] for row in rows], every) > 0
    probabilities = np.concatenate([predicted.probabilities[rows], without], axis=1)
    unmeasured = labels.unmeasured(predicted.labels, file)
    judged = ~np.isin(every, unmeasured.names)
    scores = metrics.measure(every, has, tagged, probabilities, beta, judged)
    of_model = np.isin(every, predicted.labels)
    return Evaluation(
        model=predicted.model,
        bundle=predicted.bundle,
        files=tuple(filter(None, map(predicted.whereabouts.whole, truth))),
        computed_in=predicted.computed_in,
        scores=scores,
        reliability=reliability.measure(has[:, judged], probabilities[:, judged]),
        failed_paths=tuple(path for path in matched.paths if path in failed),
        unknown_labels=unknown,
        never_given=find_never_given(scores.of(judged & of_model).labels, reached=_reached(predicted, rows)),
        findings=(*file.findings, *matched.findings, *([unmeasured] if unmeasured.names else [])),
    )


def _reached(predicted: Predictions, rows: Sequence[int]) -> frozenset[str]:
    """Return the labels whose probability reaches the threshold in one of some rows."""
    highest = predicted.probabilities[rows].max(axis=0)
    reached = zip(predicted.labels, highest >= np.array(predicted.thresholds, np.float32), strict=True)
    return frozenset(label for label, of_label in reached if of_label)


def read_predictions(folder: str) -> Predictions:
    """Read the predictions that predict wrote.

    Args:
      folder: its output, or the subfolder `predictions`.

    Raises:
      NoOutputError: there is no such folder, or it does not contain the predictions of one model, one of each
        image.
      OutputError: a file in it is damaged.
    """
    output = open_output(folder)
    if not output.prediction_files:
        if output.failure_files:
            raise NoOutputError(f"{folder} has no predictions: predict failed on every image", "see failures/*.parquet")
        raise NoOutputError(f"{folder} has no files predictions/*.parquet", "give the --output of predict")
    footer, manifests = output.footer(), _read_manifests(output)
    probability_fields = ((footer.columns[label], pa.float32()) for label in footer.labels)
    fields = pa.schema([("path", pa.string()), ("tags", pa.list_(pa.string())), *probability_fields])
    table = pa.Table.from_batches(output.pieces(fields, made_with=footer), fields)
    paths = tuple(table["path"].to_pylist())
    probabilities = np.stack([table[footer.columns[label]].to_numpy() for label in footer.labels], axis=1)
    predicted = frozenset(paths)
    return Predictions(
        model=footer.bundle,
        bundle=_find_bundle(manifests, footer.bundle),
        whereabouts=find_whereabouts(output, footer, manifests=manifests),
        computed_in=footer.precision,
        labels=footer.labels,
        thresholds=footer.thresholds,
        paths=paths,
        tags=tuple(frozenset(of_image) for of_image in table["tags"].to_pylist()),
        probabilities=probabilities,
        failed_paths=tuple(path for path in dict.fromkeys(output.failed_images()) if path not in predicted),
    )


def _read_manifests(output: Output) -> Sequence[Manifest]:
    """Return the manifests of an output; none if one is damaged, as figures need none."""
    try:
        return output.manifests()
    except (NoOutputError, OSError):
        return ()


def _find_bundle(manifests: Sequence[Manifest], digest: str) -> str:
    """Return where the newest run had the bundle of this digest; empty if no manifest says so."""
    bundles = [manifest.described.get("bundle") for manifest in manifests]
    found = [bundle for bundle in bundles if isinstance(bundle, Mapping) and bundle.get("digest") == digest]
    return str(found[-1].get("path", "")) if found else ""


def describe(evaluation: Evaluation, folder: str, source: LabelSource) -> dict[str, Any]:
    """Return an evaluation for JSON; `folder` and `source` are as given on the command line."""
    findings = [
        {"what": finding.what, "count": len(finding.names), "names": finding.names[: labels.NAMES_SHOWN]}
        for finding in evaluation.findings
    ]
    return {
        "model": evaluation.model,
        "computed_in": evaluation.computed_in,
        "predictions": folder,
        "label_file": str(source),
        "failed_images": len(evaluation.failed_paths),
        "unknown_labels": evaluation.unknown_labels,
        "never_given": evaluation.never_given,
        "findings": findings,
        **evaluation.scores.to_json(),
        **evaluation.reliability.to_json(),
    }


def lay_out(evaluation: Evaluation) -> Iterator[str]:
    """Lay out an evaluation as lines of text, at most 100 columns wide except for names of images and labels."""
    scores = evaluation.scores
    images = quantity(scores.images, "image")
    rounded = f" in {evaluation.computed_in}" * (evaluation.computed_in != "float32")
    yield f"{images} measured, predicted by the model {evaluation.model[:12]}{rounded}"
    yield from map(str, evaluation.findings)
    if evaluation.failed_paths:
        yield str(Finding("labelled images that predict failed on, not measured", evaluation.failed_paths))
    if evaluation.unknown_labels:
        yield f"labels the model does not know, counted as missed: {', '.join(map(_plain, evaluation.unknown_labels))}"
    yield from lay_out_never_given(evaluation.never_given)
    yield ""
    yield from metrics.report(scores)
    yield ""
    yield from reliability.report(evaluation.reliability)


def _plain(text: str) -> str:
    """Put a text on one line, whatever white space it contains."""
    return " ".join(text.split())

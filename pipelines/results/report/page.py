"""Make the page of a report."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from pipelines import archives
from pipelines.credentials import without_secrets
from pipelines.errors import printable, quantity
from pipelines.inference.reference import STRANGE
from pipelines.inference.shift import Shift
from pipelines.results.files import Manifest
from pipelines.results.pages import Parts, fill
from pipelines.results.report.choosing import Group
from pipelines.results.report.failures import Example, Reason
from pipelines.results.report.survey import Survey
from pipelines.results.report.tally import BINS, Tally
from pipelines.results.report.thumbnails import Thumbnail
from pipelines.results.report.truth import Truth
from pipelines.scenes.grid import split_window
from pipelines.scenes.naming import split_files

_PARTS = Parts(
    "report.html",
    ("base.css", "report.css"),
    (
        *("base.js", "saving.js", "report_data.js", "report_chart.js", "report_tags.js", "report_novelty.js"),
        *("report_images.js", "report_viewer.js", "report_tables.js", "report.js"),
    ),
)

_MOST_RUNS = 50
_MOST_SOURCES = 30
_LONGEST = 500
"""Characters of a message; of a path, all are shown."""

_EMULATED = ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
"""With these, buckets are not where their names lead to on the web."""


def make_page(survey: Survey, seed: int) -> str:
    """Make the page.

    Args:
      survey: what it is about.
      seed: with which the images were chosen.
    """
    tally, footer = survey.tally, survey.footer
    described = {
        "path": _text(survey.path),
        "model": printable(footer.bundle[:12]),
        "bins": BINS,
        "seed": seed,
        "rows": tally.rows,
        "untagged": tally.untagged,
        "repaired": tally.repaired,
        "tags": [
            {
                "name": printable(label),
                "key": label,
                "threshold": float(footer.thresholds[place]),
                "tagged": int(tally.tagged[place]),
                "reaching": int(tally.reaching[place]),
            }
            for place, label in enumerate(footer.labels)
        ],
        "together": tally.together.tolist(),
        "novelty": _of_novelty(survey.shift, tally) if survey.shift else None,
        "repairs": [[printable(name), count] for name, count in tally.repairs.most_common()],
        "sources": [[printable(name), count] for name, count in tally.sources.most_common(_MOST_SOURCES)],
        "failures": [_of_reason(reason, survey) for reason in survey.failures],
        "runs": [_of_run(manifest) for manifest in reversed(survey.manifests[-_MOST_RUNS:])],
        "all_runs": len(survey.manifests),
        "labels": _of_truth(survey.truth) if survey.truth else None,
        "images": [*_of_chosen(survey), *_of_examples(survey)],
    }
    histograms = [tally.histograms, *([survey.truth.known, survey.truth.positive] if survey.truth else [])]
    arrays = (
        *(histogram.astype("<u4") for histogram in histograms),
        np.array([one.probabilities for one in survey.chosen], "<f4"),
    )
    data = zlib.compress(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    title = os.path.basename(survey.path) or survey.path
    return fill(_PARTS, f"{title}: report", title, described, data, "data: blob:")


def _of_chosen(survey: Survey) -> list[dict[str, Any]]:
    labels = {label: place for place, label in enumerate(survey.footer.labels)}
    return [
        {
            **_of_original(one.row["path"], survey),
            "groups": [_of_group(group, labels) for group in one.groups],
            "tags": np.flatnonzero(one.tags).tolist(),
            "size": [one.row["width"], one.row["height"]],
            "source": printable(one.row["source"] or ""),
            "repairs": [printable(repair) for repair in one.row["repairs"] or () if repair],
            "run": printable(one.row["run"] or ""),
            "truth": None if one.truth is None else np.flatnonzero(one.truth).tolist(),
            "novelty": one.novelty,
        }
        for one in survey.chosen
    ]


def _of_examples(survey: Survey) -> list[dict[str, Any]]:
    shown = [example for reason in survey.failures for example in reason.examples] if survey.thumbnails else []
    return [{**_of_original(one.path, survey), "failure": _of_example(one)} for one in shown]


def _of_novelty(shift: Shift, tally: Tally) -> dict[str, Any]:
    return {
        "verdict": shift.verdict,
        "told": _tell(shift),
        "bins": tally.novelty.tolist(),
        "strange": tally.strange,
        "least_strange": STRANGE,
    }


def _tell(shift: Shift) -> str:
    told = str(shift)
    return f"{told[0].upper()}{told[1:]}."


def _of_truth(truth: Truth) -> dict[str, Any]:
    return {
        "file": printable(truth.file),
        "images": truth.images,
        "tagged": truth.tagged.tolist(),
        "hits": truth.hits.tolist(),
        "unknown": list(map(printable, truth.unknown)),
        "findings": list(map(printable, truth.findings)),
    }


def _of_group(group: Group, labels: Mapping[str, int]) -> list[Any]:
    return [group.kind, labels.get(group.of, printable(group.of))]


def _of_original(path: str, survey: Survey) -> dict[str, Any]:
    made = survey.thumbnails.get(path, Thumbnail())
    return {
        "path": _text(path),
        "link": link_to(survey.whereabouts.whole(path)),
        "picture": base64.b64encode(made.picture).decode(),
        "problem": _text(made.problem)[:_LONGEST],
    }


def _of_reason(reason: Reason, survey: Survey) -> dict[str, Any]:
    return {
        "stage": printable(reason.stage),
        "error": printable(reason.error),
        "count": reason.rows,
        "examples": [
            {"path": _text(one.path), "link": link_to(survey.whereabouts.whole(one.path)), **_of_example(one)}
            for one in reason.examples
        ],
    }


def _of_example(example: Example) -> dict[str, str]:
    message = _text(example.message)[:_LONGEST]
    return {"stage": printable(example.stage), "error": printable(example.error), "message": message}


def _of_run(manifest: Manifest) -> dict[str, Any]:
    told, accounts = manifest.described, manifest.accounts
    bundle = told.get("bundle")
    seconds = told.get("seconds")
    return {
        "run": printable(str(manifest.run)),
        # Such a run has tagged no image, and would look as if it had done nothing.
        "status": "retagged" if "retagged" in told else printable(str(manifest.status)),
        "started": printable(str(told.get("started") or "")),
        "seconds": seconds if isinstance(seconds, int | float) else None,
        "bundle": printable(str(bundle.get("name") or "")) if isinstance(bundle, dict) else "",
        "inputs": accounts.inputs,
        "predictions": accounts.predictions,
        "failures": accounts.failures,
        "skipped": accounts.skipped,
        "empty": accounts.empty,
        "balanced": accounts.balanced,
    }


def link_to(path: str) -> str:
    """Return the URL of an original, or of the scene or archive that it is in; empty if browsers know none."""
    window = split_window(path)
    # Of several files, to the first.
    file = split_files(window[0])[0] if window else archives.split_member(path)[0]
    if file.startswith("/"):
        return f"file://{quote(file)}"
    scheme, _, place = file.partition("://")
    bucket, _, key = place.partition("/")
    if any(os.environ.get(name) for name in _EMULATED):
        return ""
    if scheme == "gs":
        return f"https://storage.cloud.google.com/{quote(bucket)}/{quote(key)}"
    if scheme == "s3":
        return f"https://s3.console.aws.amazon.com/s3/object/{quote(bucket, '')}?prefix={quote(key, '')}"
    return ""


def _text(text: str) -> str:
    return printable(without_secrets(text))


def describe(survey: Survey) -> list[str]:
    """Describe in lines of text what is on the page."""
    with_picture = sum(bool(made.picture) for made in survey.thumbnails.values())
    failures = sum(reason.rows for reason in survey.failures)
    lines = [
        f"{quantity(survey.tally.rows, 'prediction')}, {quantity(failures, 'failure')}",
        f"{quantity(len(survey.chosen), 'image')} shown, {quantity(with_picture, 'thumbnail')}",
        *(
            [f"{quantity(survey.truth.images, 'prediction')} with labels", *survey.truth.findings]
            if survey.truth
            else []
        ),
        *([f"training images: {survey.shift}"] if survey.shift and survey.shift.verdict != "unknown" else []),
    ]
    failed = {example.path for reason in survey.failures for example in reason.examples}
    problems = [made.problem for path, made in survey.thumbnails.items() if not made.picture and path not in failed]
    if problems:
        commonest = max(set(problems), key=problems.count)
        lines.append(f"without a thumbnail: {len(problems):,}, most often because {commonest}")
        if survey.whereabouts.folder and not with_picture:
            lines.append(f"if the originals are not below {survey.whereabouts.folder} any more, give --relative_to")
    return lines

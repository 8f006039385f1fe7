"""Look over an output: count all its rows, choose some of them, and fetch their originals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.inference.shift import Shift
from pipelines.labels import LabelSource
from pipelines.output.footers import Footer
from pipelines.output.schema import NOVELTY
from pipelines.output.shifts import compare_runs
from pipelines.results.files import Manifest
from pipelines.results.outputs import Output
from pipelines.results.report.choosing import Chooser, Chosen
from pipelines.results.report.failures import Reason, count_failures
from pipelines.results.report.tally import Tally, read_rows
from pipelines.results.report.thumbnails import Thumbnail, make_thumbnails_of_rows
from pipelines.results.report.truth import Truth, read_truth
from pipelines.results.whereabouts import Whereabouts, find_whereabouts

_OPTIONAL = pa.schema(
    [
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("source", pa.string()),
        ("repairs", pa.list_(pa.string())),
        ("fingerprint", pa.string()),
        ("scene", pa.string()),
        ("run", pa.string()),
    ]
)
"""Columns that older files, and those without windows of scenes, may lack."""


class Survey(NamedTuple):
    """What a report is about.

    Attributes:
      path: of the output.
      footer: what its rows were made with.
      manifests: of its runs, oldest first.
      shift: how their images differ from those that the model was trained on; None if rows do not say how strange
        theirs are.
      tally: counts of all predictions.
      truth: how they compare with labels; None without labels.
      failures: by reason.
      chosen: predictions that are shown.
      thumbnails: of these, and of examples of failures, by their paths.
      whereabouts: of the originals.
    """

    path: str
    footer: Footer
    manifests: Sequence[Manifest]
    shift: Shift | None
    tally: Tally
    truth: Truth | None
    failures: Sequence[Reason]
    chosen: Sequence[Chosen]
    thumbnails: dict[str, Thumbnail]
    whereabouts: Whereabouts


def look_over(
    output: Output, seed: int, images: int, labels: LabelSource | None = None, relative_to: str | None = None
) -> Survey:
    """Look over an output, reading each of its rows once.

    Args:
      output: the output.
      seed: of what is left to chance.
      images: most predictions that are shown.
      labels: to compare with; None for none.
      relative_to: folder below which the originals of an output with relative paths are; by default where its newest
        run found them.

    Raises:
      LabelError: the labels cannot be used.
      NoOutputError: scenetags did not write it, or not all of its rows with one model; or its paths are absolute,
        and `relative_to` is given.
      OutputError: a file is damaged.
    """
    head = output.head()
    footer = head.footer
    manifests = output.manifests()
    whereabouts = find_whereabouts(output, footer, relative_to, manifests)
    truth = read_truth(labels, output, footer) if labels else None
    failures = count_failures(output, seed)
    tally, chooser = Tally(footer.thresholds), Chooser(footer, seed, images)
    probabilities = [(column, pa.float32()) for column in footer.columns.values()]
    novelty = [(NOVELTY.name, pa.float32())] if head.has_novelty else []
    fields = pa.schema([("path", pa.string()), ("tags", pa.list_(pa.string())), *probabilities, *_OPTIONAL, *novelty])
    for batch in output.pieces(fields, missing=[*_OPTIONAL.names, NOVELTY.name], made_with=footer):
        rows = read_rows(output.path, batch, footer, tally.rows)
        tally.add(rows)
        told = truth.tell(rows) if truth else None
        if truth and told:
            truth.add(rows, told)
        chooser.offer(rows, told)
    by_frequency = [footer.labels[place] for place in np.argsort(-tally.tagged, kind="stable")]
    chosen = chooser.choose(by_frequency)
    described = [manifest.described for manifest in manifests]
    shift = compare_runs(described, tally.runs, footer.bundle) if head.has_novelty else None
    survey = Survey(output.path, footer, manifests, shift, tally, truth, failures, chosen, {}, whereabouts)
    return survey._replace(thumbnails=_thumbnails(survey)) if images else survey


def _thumbnails(survey: Survey) -> dict[str, Thumbnail]:
    return make_thumbnails_of_rows(_fingerprints(survey.chosen, survey.failures), survey.whereabouts, survey.footer)


def _fingerprints(chosen: Sequence[Chosen], failures: Sequence[Reason]) -> dict[str, str]:
    found = {one.row["path"]: one.row["fingerprint"] or "" for one in chosen}
    # Where listing failed, the path may be that of a folder or of a whole archive.
    examples = (example for reason in failures if reason.stage != "list" for example in reason.examples)
    return found | {example.path: example.fingerprint for example in examples if example.path not in found}

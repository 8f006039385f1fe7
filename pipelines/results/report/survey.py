"""Look over an output: count all its rows, choose some of them, and fetch their originals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.output.footers import Footer
from pipelines.results.outputs import Manifest, NoOutputError, Output
from pipelines.results.report.choosing import Chooser, Chosen
from pipelines.results.report.failures import Reason, count_failures
from pipelines.results.report.tally import Tally, read_rows
from pipelines.results.report.thumbnails import Thumbnail, make_thumbnails
from pipelines.results.report.truth import Truth, read_truth

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


_NOWHERE = "its path is relative to a folder that no run names: say --relative_to"


class Survey(NamedTuple):
    """What a report is about.

    Attributes:
      path: of the output.
      footer: what its rows were made with.
      manifests: of its runs, oldest first.
      tally: counts of all predictions.
      truth: how they compare with labels; None without labels.
      failures: by reason.
      chosen: predictions that are shown.
      thumbnails: of these, and of examples of failures, by their paths.
      root: folder that all paths are relative to; empty if they are absolute, or if it is not known.
    """

    path: str
    footer: Footer
    manifests: Sequence[Manifest]
    tally: Tally
    truth: Truth | None
    failures: Sequence[Reason]
    chosen: Sequence[Chosen]
    thumbnails: dict[str, Thumbnail]
    root: str

    def whole(self, path: str) -> str:
        """Return the whole path of an original; empty if it is not known."""
        return whole_path(path, self.footer, self.root)


def look_over(
    output: Output, seed: int, images: int, label_file: str | None = None, relative_to: str | None = None
) -> Survey:
    """Look over an output, reading each of its rows once.

    Args:
      output: the output.
      seed: of what is left to chance.
      images: most predictions that are shown.
      label_file: to compare with; None for none.
      relative_to: folder below which the originals of an output with relative paths are; by default where its newest
        run found them.

    Raises:
      LabelError: the label file cannot be used.
      NoOutputError: scenetags did not write it, or not all of its rows with one model; or its paths are absolute,
        and `relative_to` is given.
      OutputError: a file is damaged.
    """
    footer = output.footer()
    manifests = output.manifests()
    truth = read_truth(label_file, output, footer) if label_file else None
    failures = count_failures(output, seed)
    tally, chooser = Tally(footer.thresholds), Chooser(footer, seed, images)
    probabilities = [(column, pa.float32()) for column in footer.columns.values()]
    fields = pa.schema([("path", pa.string()), ("tags", pa.list_(pa.string())), *probabilities, *_OPTIONAL])
    for batch in output.pieces(fields, missing=_OPTIONAL.names):
        rows = read_rows(output.path, batch, footer, tally.rows)
        tally.add(rows)
        told = truth.tell(rows) if truth else None
        if truth and told:
            truth.add(rows, told)
        chooser.offer(rows, told)
    by_frequency = [footer.labels[place] for place in np.argsort(-tally.tagged, kind="stable")]
    chosen = chooser.choose(by_frequency)
    root = find_root(output, footer, manifests, relative_to)
    survey = Survey(output.path, footer, manifests, tally, truth, failures, chosen, {}, root)
    return survey._replace(thumbnails=_thumbnails(survey)) if images else survey


def find_root(output: Output, footer: Footer, manifests: Sequence[Manifest], relative_to: str | None) -> str:
    """Return the folder below which the originals are, as in `Survey`; arguments and errors as in `look_over`."""
    if not footer.relative:
        if relative_to:
            raise NoOutputError(f"--relative_to {relative_to}: the paths of {output.path} are absolute", "leave it out")
        return ""
    if relative_to:
        return storage.normalize(relative_to)
    options = (manifest.described.get("options") for manifest in reversed(manifests))
    found = (of_run.get("relative_to") for of_run in options if isinstance(of_run, dict))
    return next((folder for folder in found if isinstance(folder, str) and _is_whole(folder)), "")


def whole_path(path: str, footer: Footer, root: str) -> str:
    """Return the whole path of an original; empty if it is relative, and no root is known."""
    return path if not footer.relative or _is_whole(path) else root and storage.join(root, path)


def _is_whole(path: str) -> bool:
    return path.startswith("/") or "://" in path


def _thumbnails(survey: Survey) -> dict[str, Thumbnail]:
    fingerprints = _fingerprints(survey.chosen, survey.failures)
    whole = {path: survey.whole(path) for path in fingerprints}
    made = make_thumbnails({place: fingerprints[path] for path, place in whole.items() if place}, survey.footer)
    return {path: made.get(place, Thumbnail(problem=_NOWHERE)) for path, place in whole.items()}


def _fingerprints(chosen: Sequence[Chosen], failures: Sequence[Reason]) -> dict[str, str]:
    found = {one.row["path"]: one.row["fingerprint"] or "" for one in chosen}
    # Where listing failed, the path may be that of a folder or of a whole archive.
    examples = (example for reason in failures if reason.stage != "list" for example in reason.examples)
    return found | {example.path: example.fingerprint for example in examples if example.path not in found}

"""Check what the manifest of a bundle says before any of it is used."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import ScenetagsError
from pipelines.images.limits import RESIZE_FILTERS
from pipelines.images.rendering import NO_RENDERING, Rendering, read_rendering
from pipelines.inference.reference import Reference, read_reference

FORMAT = 1
MANIFEST = "bundle.json"
GOLDEN = "golden.npz"

_LARGEST_IMAGE = 4096
"""Columns and rows; an image of that size takes 50 MB in each place of every queue."""

REMEDY = "copy the bundle again, or train it again"

_FIELDS = {
    "name": str,
    "labels": list,
    "thresholds": list,
    "image_size": int,
    "resize_filter": str,
    "files": dict,
    "training": dict,
    "metrics": dict,
    "versions": dict,
}


class BundleError(ScenetagsError):
    """A bundle that cannot be used; the message says why."""


@dataclass(frozen=True)
class BundleManifest:
    """What the manifest of a bundle says.

    Attributes:
      digest: SHA-256 of the manifest, in hexadecimal; the model's identity.
      name: human-readable name of the model.
      labels: in the order of the model's outputs.
      thresholds: least probability, 0 to 1, at which a label becomes a tag; one per label.
      image_size: columns and rows that the model takes.
      resize_filter: how images are resized to that size; one of `images.RESIZE_FILTERS`.
      files: SHA-256 of every other file, in hexadecimal, by its name relative to the folder.
      training: how the model was trained, human-readable.
      metrics: quality on validation data, human-readable.
      versions: of the libraries that made the bundle.
      rendering: how rasters among the training images became pictures.
      reference: what the training images look like; None if there were too few to tell, as for early bundles.
    """

    digest: str
    name: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    image_size: int
    resize_filter: str
    files: Mapping[str, str]
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]
    rendering: Rendering
    reference: Reference | None


def check_manifest(path: str, manifest: Any) -> BundleManifest:
    """Take the fields of a bundle from the JSON in its manifest, and make sure that they are consistent.

    Args:
      path: of the bundle, for messages.
      manifest: what the JSON says.

    Raises:
      BundleError: the manifest is damaged, inconsistent or in a different format.
    """
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"bundle {path}: {MANIFEST} is not in format {FORMAT}, the only one that this version reads")
    fields = dict(manifest)
    digest = fields.pop("digest", None)
    if digest != digest_manifest(fields):
        raise BundleError(f"bundle {path}: {MANIFEST} is damaged: its own digest does not match its content", REMEDY)
    del fields["format"]
    # Not `isinstance`: to Python, true is a number.
    wrong = [name for name, kind in _FIELDS.items() if type(fields.get(name)) is not kind]
    unknown = fields.keys() - _FIELDS - {"rendering", "reference"}
    if wrong or unknown:
        problems = ", ".join(wrong or sorted(unknown))
        raise BundleError(f"bundle {path}: {MANIFEST} has missing, unknown or malformed fields: {problems}")
    if not _is_text(fields):
        raise BundleError(f"bundle {path}: {MANIFEST} has text that is not Unicode")
    rendering = _read_rendering(path, fields.pop("rendering", None))
    reference = _read_reference(path, fields.pop("reference", None))
    labels, thresholds = tuple(fields.pop("labels")), tuple(fields.pop("thresholds"))
    checked = BundleManifest(
        digest=digest, labels=labels, thresholds=thresholds, rendering=rendering, reference=reference, **fields
    )
    if problem := _find_problem(checked):
        raise BundleError(f"bundle {path}: {problem}")
    return checked


def _read_rendering(path: str, described: Any) -> Rendering:
    try:
        return NO_RENDERING if described is None else read_rendering(described)
    except ValueError as error:
        raise BundleError(f"bundle {path}: {MANIFEST} has a rendering that is {error}") from error


def _read_reference(path: str, described: Any) -> Reference | None:
    try:
        return None if described is None else read_reference(described)
    except ValueError as error:
        raise BundleError(f"bundle {path}: {MANIFEST} has a reference that is {error}", REMEDY) from error


def digest_manifest(manifest: Mapping[str, Any]) -> str:
    """Return the digest of a manifest that does not contain it, in hexadecimal."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _is_text(manifest: Mapping[str, Any]) -> bool:
    """Return whether all text can be written as UTF-8; JSON can express halves of characters, which cannot."""
    try:
        json.dumps(manifest, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_problem(manifest: BundleManifest) -> str | None:
    """Say how the fields contradict each other, or what of them the output cannot represent."""
    problem = None
    blank = [label for label in manifest.labels if not isinstance(label, str) or not label.strip()]
    if not manifest.labels:
        problem = "labels are missing: at least one is needed"
    elif blank:
        problem = f"label {manifest.labels.index(blank[0]) + 1} is {blank[0]!r}: labels must be text and not blank"
    elif repeated := [label for label, count in Counter(manifest.labels).items() if count > 1]:
        problem = f"label {repeated[0]!r} is repeated"
    elif len(manifest.thresholds) != len(manifest.labels):
        problem = f"{len(manifest.thresholds)} thresholds for {len(manifest.labels)} labels"
    elif not all(isinstance(threshold, float) and 0 <= threshold <= 1 for threshold in manifest.thresholds):
        problem = "thresholds must be numbers between 0 and 1"
    elif not 1 <= manifest.image_size <= _LARGEST_IMAGE:
        problem = f"image_size must be between 1 and {_LARGEST_IMAGE:,}, not {manifest.image_size}"
    elif manifest.resize_filter not in RESIZE_FILTERS:
        problem = f"resize_filter must be one of {', '.join(RESIZE_FILTERS)}, not {manifest.resize_filter!r}"
    elif any(name.startswith("/") or ".." in name.split("/") or "\0" in name for name in manifest.files):
        problem = "files must lie inside the bundle"
    elif GOLDEN not in manifest.files:
        problem = f"{GOLDEN} is missing"
    elif not all(isinstance(digest, str) for digest in manifest.files.values()):
        problem = "files must have digests"
    return problem

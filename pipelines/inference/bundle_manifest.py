"""Check what the manifest of a bundle says before any of it is used."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import ScenetagsError, quantity
from pipelines.images.limits import RESIZINGS
from pipelines.images.rendering import NO_RENDERING, Rendering, read_rendering
from pipelines.inference.reference import Reference, read_reference
from pipelines.storage.strict_json import without_repeats

FORMAT = 1
MANIFEST = "bundle.json"
GOLDEN = "golden.npz"

_MOST_LABELS = 10_000
_MOST_FILES = 1_000
_LARGEST_IMAGE = 4096
"""Columns and rows; an image of that size takes 50 MB in each place of every queue."""

REMEDY = "copy the bundle again, or train it again"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONTROLS = ("Cc", "Zl", "Zp")
"""Unicode categories of control characters, and of separators of lines and paragraphs."""

_LONGEST_NAME = 1_000
_NAMES = f"names have at most {_LONGEST_NAME:,} characters, and no line breaks or other control characters"
_SHOWN = 80

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


@dataclass(frozen=True, kw_only=True)
class Description:
    """What the maker of a bundle says of it.

    Attributes:
      name: human-readable name of the model.
      labels: in the order of the model's outputs.
      thresholds: least probability, 0 to 1, at which a label becomes a tag; one per label.
      image_size: columns and rows that the model takes.
      resize_filter: how images are resized to that size; one of `images.limits.RESIZINGS`.
      training: how the model was trained, human-readable; any JSON.
      metrics: quality on validation data, human-readable; any JSON.
      versions: of the libraries that made the bundle.
      rendering: how rasters among the training images became pictures.
      reference: what the training images look like; None if there were too few to tell, as for early bundles.
    """

    name: str
    labels: Sequence[str]
    thresholds: Sequence[float]
    image_size: int
    resize_filter: str
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]
    rendering: Rendering = NO_RENDERING
    reference: Reference | None = None


@dataclass(frozen=True, kw_only=True)
class BundleManifest(Description):
    """What the manifest of a bundle says.

    Attributes:
      digest: SHA-256 of the manifest, in hexadecimal; the model's identity.
      files: SHA-256 of every other file, in hexadecimal, by its name relative to the folder.
    """

    digest: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    files: Mapping[str, str]


def parse_manifest(content: bytes) -> Any:
    """Parse the JSON of a manifest, which everyone who reads it must understand alike.

    Raises:
      ValueError: it is not JSON, has a name twice in one object, or has a number that is not finite.
      RecursionError: it is nested too deeply.
    """
    return json.loads(content, object_pairs_hook=without_repeats, parse_float=_finite, parse_constant=_finite)


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{number[:_SHOWN]} is not a finite number")
    return float(number)


def check_manifest(path: str, manifest: Any) -> BundleManifest:
    """Take the fields of a bundle from the JSON in its manifest, and make sure that they are consistent.

    Args:
      path: of the bundle, for messages.
      manifest: what the JSON says.

    Raises:
      BundleError: the manifest is damaged, inconsistent or in a different format.
    """
    # Not `isinstance`, here and below: to Python, true is a number, and equal to 1.
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int or manifest["format"] != FORMAT:
        raise BundleError(f"bundle {path}: {MANIFEST} is not in format {FORMAT}, the only one that this version reads")
    fields = dict(manifest)
    digest = fields.pop("digest", None)
    if digest != digest_manifest(fields):
        raise BundleError(f"bundle {path}: {MANIFEST} is damaged: its own digest does not match its content", REMEDY)
    del fields["format"]
    wrong = [name for name, kind in _FIELDS.items() if type(fields.get(name)) is not kind]
    unknown = fields.keys() - _FIELDS - {"rendering", "reference"}
    if wrong or unknown:
        problems = ", ".join(name[:_SHOWN] for name in (wrong or sorted(unknown))[:_SHOWN])
        raise BundleError(f"bundle {path}: {MANIFEST} has missing, unknown or malformed fields: {problems}", REMEDY)
    if not _is_text(fields):
        raise BundleError(f"bundle {path}: {MANIFEST} has text that is not Unicode", REMEDY)
    rendering = _read_rendering(path, fields.pop("rendering", None))
    reference = _read_reference(path, fields.pop("reference", None))
    labels, thresholds = tuple(fields.pop("labels")), tuple(fields.pop("thresholds"))
    checked = BundleManifest(
        digest=digest, labels=labels, thresholds=thresholds, rendering=rendering, reference=reference, **fields
    )
    if problem := _find_problem(checked):
        raise BundleError(f"bundle {path}: {problem}", REMEDY)
    return checked


def _read_rendering(path: str, described: Any) -> Rendering:
    try:
        return NO_RENDERING if described is None else read_rendering(described)
    except ValueError as error:
        raise BundleError(f"bundle {path}: {MANIFEST} has a rendering that is {error}", REMEDY) from error


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
    return (
        _find_unusable_label(manifest.labels) or _find_unusable_field(manifest) or _find_unusable_file(manifest.files)
    )


def _find_unusable_label(labels: Sequence[Any]) -> str | None:
    if not 1 <= len(labels) <= _MOST_LABELS:
        return f"too many labels: {len(labels):,}" if labels else "labels are missing: at least one is needed"
    for number, label in enumerate(labels, start=1):
        if not isinstance(label, str) or not label.strip():
            return f"label {number} is {_shown(label)}: labels must be text and not blank"
        if not _is_name(label):
            return f"label {number} is {_shown(label)}: {_NAMES}"
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    return f"label {_shown(repeated[0])} is repeated" if repeated else None


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and not any(unicodedata.category(character) in _CONTROLS for character in text)


def _shown(value: Any) -> str:
    """Return what a message shows of a value of any size."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _find_unusable_field(manifest: BundleManifest) -> str | None:
    problem = None
    if len(manifest.thresholds) != len(manifest.labels):
        problem = f"{quantity(len(manifest.thresholds), 'threshold')} for {quantity(len(manifest.labels), 'label')}"
    elif wrong := [value for value in manifest.thresholds if not isinstance(value, float) or not 0 <= value <= 1]:
        problem = f"thresholds must be numbers between 0 and 1, not {_shown(wrong[0])}"
    elif not 1 <= manifest.image_size <= _LARGEST_IMAGE:
        problem = f"image_size must be between 1 and {_LARGEST_IMAGE:,}, not {manifest.image_size}"
    elif manifest.resize_filter not in RESIZINGS:
        problem = f"resize_filter must be one of {', '.join(RESIZINGS)}, not {_shown(manifest.resize_filter)}"
    elif not _is_name(manifest.name):
        problem = f"name is {_shown(manifest.name)}: {_NAMES}"
    elif unclear := [version for version in manifest.versions.values() if not isinstance(version, str)]:
        problem = f"versions must be text, not {_shown(unclear[0])}"
    return problem


def _find_unusable_file(files: Mapping[str, Any]) -> str | None:
    if GOLDEN not in files:
        return f"{GOLDEN} is missing"
    if len(files) > _MOST_FILES:
        return f"too many files: {len(files):,}"
    for name, digest in files.items():
        # Backslashes separate folders in some programs; what is not in its shortest form is another name elsewhere.
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            return f"file {_shown(name)}: files must lie inside the bundle"
        if not _is_name(name) or not name.strip(".") or posixpath.normpath(name) != name:
            return f"file {_shown(name)}: {_NAMES}, empty parts or dots for folders"
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            return f"file {_shown(name)} has no SHA-256 digest"
    return None

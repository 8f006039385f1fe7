"""Seal, load and verify a bundle: the folder in which training hands a model over to prediction.

`bundle.json` names every other file with its digest, and carries a digest of itself. That last one is the model's
identity: it changes with any byte of the bundle, labels and thresholds included.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.images.limits import RESIZE_FILTERS

FORMAT = 1
MANIFEST = "bundle.json"
LITERT_MODEL = "model.tflite"
SAVED_MODEL = "saved_model/"
GOLDEN = "golden.npz"
MODEL_CARD = "MODEL_CARD.md"

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


class Golden(NamedTuple):
    """A few inputs and what the model made of them when it was exported.

    Attributes:
      pixels: uint8[N, S, S, 3].
      probabilities: float32[N, L], 0 to 1.
    """

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Bundle:
    """A verified description of a bundle.

    Attributes:
      path: the bundle's folder, local or in a bucket.
      digest: SHA-256 of the manifest, in hexadecimal; the model's identity.
      name: what people call the model.
      labels: in the order of the model's outputs.
      thresholds: the least probability, 0 to 1, at which a label becomes a tag; one a label.
      image_size: columns and rows that the model takes.
      resize_filter: how images are brought to that size; one of `images.RESIZE_FILTERS`.
      files: SHA-256 of every other file, in hexadecimal, by its name relative to the folder.
      training: how the model was trained, for people.
      metrics: quality on validation data, for people.
      versions: of the libraries that made the bundle.
    """

    path: str
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

    def read(self, name: str) -> bytes:
        """Read one of the bundle's files and verify its digest.

        Raises:
          BundleError: the file is not part of the bundle, is missing, or is not as it was when sealed.
        """
        if name not in self.files:
            raise BundleError(f"bundle {self.path} has no {name}")
        try:
            data = _read(storage.join(self.path, name), self.files[name])
        except OSError as error:
            raise BundleError(f"bundle {self.path}: {name} cannot be read: {error}") from error
        if hashlib.sha256(data).hexdigest() != self.files[name]:
            raise BundleError(f"bundle {self.path}: {name} is damaged: its digest is not the one in {MANIFEST}")
        return data

    def golden(self) -> Golden:
        """Read the inputs and probabilities that an engine must reproduce.

        Raises:
          BundleError: they are missing or damaged, or do not fit the bundle's image size and labels.
        """
        data = self.read(GOLDEN)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                golden = Golden(arrays["pixels"], arrays["probabilities"])
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise BundleError(f"bundle {self.path}: {GOLDEN} holds no golden pairs") from error
        pairs, size = len(golden.pixels), self.image_size
        expected = (pairs, size, size, 3), (pairs, len(self.labels))
        if not pairs or (golden.pixels.shape, golden.probabilities.shape) != expected:
            raise BundleError(
                f"bundle {self.path}: golden pairs of shapes {golden.pixels.shape} and {golden.probabilities.shape} do "
                f"not fit image size {size} and {len(self.labels)} labels"
            )
        return golden

    def extract(self, prefix: str, folder: str) -> None:
        """Copy every file whose name begins with `prefix` below a local folder, each one verified.

        Raises:
          BundleError: a file is missing or damaged, or there is none.
        """
        names = [name for name in self.files if name.startswith(prefix)]
        if not names:
            raise BundleError(f"bundle {self.path} has no {prefix}")
        for name in names:
            storage.write(os.path.join(folder, name), self.read(name))


def load_bundle(path: str) -> Bundle:
    """Load a bundle and verify every file of it.

    Args:
      path: the bundle's folder, local or in a bucket.

    Raises:
      BundleError: there is no bundle, it is damaged, or it is of another format.
    """
    try:
        path = storage.normalize(path)
        manifest = json.loads(storage.read(storage.join(path, MANIFEST)))
    except storage.UnsupportedStorageError as error:
        raise BundleError(str(error)) from error
    except OSError as error:
        raise BundleError(f"no bundle at {path}: {MANIFEST} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise BundleError(f"bundle {path}: {MANIFEST} is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"bundle {path}: {MANIFEST} is not of format {FORMAT}, the one that this version reads")
    digest = manifest.pop("digest", None)
    if digest != _digest(manifest):
        raise BundleError(f"bundle {path}: {MANIFEST} is damaged: its own digest does not match its content")
    del manifest["format"]
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(manifest.get(name), kind)]
    if wrong or manifest.keys() - _FIELDS:
        problems = ", ".join(wrong or sorted(manifest.keys() - _FIELDS))
        raise BundleError(f"bundle {path}: {MANIFEST} has missing, unknown or wrong fields: {problems}")
    labels, thresholds = tuple(manifest.pop("labels")), tuple(manifest.pop("thresholds"))
    bundle = Bundle(path=path, digest=digest, labels=labels, thresholds=thresholds, **manifest)
    _check(bundle)
    for name in bundle.files:
        bundle.read(name)
    return bundle


def seal_bundle(
    folder: Path,
    *,
    name: str,
    labels: Sequence[str],
    thresholds: Sequence[float],
    image_size: int,
    resize_filter: str,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
) -> Bundle:
    """Write the manifest of a folder that holds all other files of a bundle, and load the result.

    Args:
      folder: holds the model files, the golden pairs and the model card.
      name: what people call the model.
      labels: in the order of the model's outputs.
      thresholds: one a label, 0 to 1.
      image_size: columns and rows that the model takes.
      resize_filter: one of `images.RESIZE_FILTERS`.
      training: how the model was trained; any JSON.
      metrics: quality on validation data; any JSON.
      versions: of the libraries that made the bundle.

    Raises:
      BundleError: the fields contradict one another.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest = {
        "format": FORMAT,
        "name": name,
        "labels": list(labels),
        "thresholds": [float(threshold) for threshold in thresholds],
        "image_size": image_size,
        "resize_filter": resize_filter,
        "files": {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "training": training,
        "metrics": metrics,
        "versions": versions,
    }
    sealed = {**manifest, "digest": _digest(manifest)}
    storage.write(str(folder / MANIFEST), json.dumps(sealed, indent=2, ensure_ascii=False).encode())
    return load_bundle(str(folder))


def _read(path: str, digest: str) -> bytes:
    # Here the system keeps what was read.
    return _read_once(path, digest) if storage.is_remote(path) else storage.read(path)


@lru_cache(maxsize=64)
def _read_once(path: str, digest: str) -> bytes:
    """Read a file of a bundle that is elsewhere; once in a process, for each load verifies every file."""
    return storage.read(path)


def _digest(manifest: Mapping[str, Any]) -> str:
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check(bundle: Bundle) -> None:
    """Refuse a manifest whose fields contradict one another or what the output can hold."""
    problem = None
    if not bundle.labels or not all(isinstance(label, str) and label for label in bundle.labels):
        problem = "labels must be names, at least one"
    elif len(set(bundle.labels)) < len(bundle.labels):
        problem = "labels must differ from one another"
    elif len(bundle.thresholds) != len(bundle.labels):
        problem = f"{len(bundle.thresholds)} thresholds for {len(bundle.labels)} labels"
    elif not all(isinstance(threshold, float) and 0 <= threshold <= 1 for threshold in bundle.thresholds):
        problem = "thresholds must be numbers between 0 and 1"
    elif bundle.image_size < 1:
        problem = f"image size {bundle.image_size}"
    elif bundle.resize_filter not in RESIZE_FILTERS:
        problem = f"resize filter {bundle.resize_filter!r} is none of {', '.join(RESIZE_FILTERS)}"
    elif any(name.startswith("/") or ".." in name.split("/") for name in bundle.files):
        problem = "files must lie inside the bundle"
    elif GOLDEN not in bundle.files:
        problem = f"{GOLDEN} is missing"
    elif not all(isinstance(digest, str) for digest in bundle.files.values()):
        problem = "files must have digests"
    if problem:
        raise BundleError(f"bundle {bundle.path}: {problem}")

"""Seal, load and verify a bundle: the folder through which training hands a model to prediction.

`bundle.json` lists every other file with its digest, and contains a digest of itself. The latter is the model's
identity: it changes with any byte of the bundle, including labels and thresholds.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipelines import storage
from pipelines.inference.bundle_manifest import (
    FORMAT,
    GOLDEN,
    MANIFEST,
    REMEDY,
    BundleError,
    BundleManifest,
    Description,
    check_manifest,
    digest_manifest,
    parse_manifest,
)
from pipelines.inference.golden import Golden, UnfitError, read_golden

__all__ = [
    "GOLDEN",
    "LEARNT_IMAGES",
    "LITERT_MODEL",
    "MANIFEST",
    "MODEL_CARD",
    "SAVED_MODEL",
    "TRAINED_SIDE",
    "Bundle",
    "BundleError",
    "Description",
    "Golden",
    "load_bundle",
    "seal_bundle",
]

LITERT_MODEL = "model.tflite"
SAVED_MODEL = "saved_model/"
MODEL_CARD = "MODEL_CARD.md"
LEARNT_IMAGES = "learnt.bin"
"""Digests of the images that the network has learnt from; only training reads them."""

TRAINED_SIDE = "image_side"
"""In the description of the training: the median of the training images' shorter sides, in pixels, before they were
resized."""

_LONGEST_MANIFEST = 16_000_000
_LARGEST = 1 << 31
"""Bytes of all files together. No LiteRT file and no graph of a SavedModel can be larger."""

_NO_FOLDER = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, kw_only=True)
class Bundle(BundleManifest):
    """A verified bundle; the other attributes are those of its manifest.

    Attributes:
      path: its folder, local or in a bucket.
    """

    path: str

    def thresholds_at(self, flat: float | None) -> tuple[float, ...]:
        """Return one threshold for all labels, 0 to 1, or the bundle's own if none is given."""
        return self.thresholds if flat is None else (flat,) * len(self.labels)

    @property
    def has_saved_model(self) -> bool:
        """Whether it has a SavedModel besides the LiteRT file."""
        return any(name.startswith(SAVED_MODEL) for name in self.files)

    @property
    def is_int8(self) -> bool:
        """Whether the model computes in int8: such a bundle has no SavedModel, which could not."""
        return not self.has_saved_model and self.training.get("quantization", "int8") == "int8"

    @property
    def trained_side(self) -> int | None:
        """The median of the training images' shorter sides, in pixels; None if it is not known."""
        side = self.training.get(TRAINED_SIDE)
        return side if type(side) is int and side > 0 else None

    def read(self, name: str) -> bytes:
        """Read one of the bundle's files and verify its digest.

        Raises:
          BundleError: the file is not part of the bundle, is missing or too large, or has changed since it was sealed.
        """
        if name not in self.files:
            raise BundleError(f"bundle {self.path} has no {name}")
        path = storage.join(self.path, name)
        _refuse_link(self.path, path)
        try:
            data = _read(path, self.files[name])
        except OSError as error:
            raise BundleError(f"bundle {self.path}: {name} cannot be read: {error}") from error
        except MemoryError as error:
            raise BundleError(f"bundle {self.path}: {name} does not fit in memory") from error
        if hashlib.sha256(data).hexdigest() != self.files[name]:
            raise BundleError(f"bundle {self.path}: {name} is damaged: its digest is not the one in {MANIFEST}", REMEDY)
        return data

    def golden(self) -> Golden:
        """Read the inputs and probabilities that an engine must reproduce.

        Raises:
          BundleError: they are missing or damaged, or do not match the bundle's image size and labels.
        """
        data = self.read(GOLDEN)
        try:
            return read_golden(data, self.image_size, len(self.labels))
        except UnfitError as error:
            raise BundleError(f"bundle {self.path}: golden pairs {error}", REMEDY) from error
        except Exception as error:
            # NumPy and the zip module raise a dozen types for what is no archive of arrays.
            raise BundleError(f"bundle {self.path}: {GOLDEN} has no valid golden pairs", REMEDY) from error

    def extract(self, prefix: str, folder: str) -> None:
        """Copy every file whose name begins with `prefix` to a local folder, verifying each.

        Raises:
          BundleError: a file is missing or damaged, or there is none.
        """
        names = [name for name in self.files if name.startswith(prefix)]
        if not names:
            raise BundleError(f"bundle {self.path} has no {prefix}")
        for name in names:
            storage.write(os.path.join(folder, name), self.read(name))


def load_bundle(path: str) -> Bundle:
    """Load a bundle and verify all files that tagging may use.

    `LEARNT_IMAGES` is verified when it is read: it takes 16 MB per million images, and each worker loads the bundle.

    Args:
      path: the bundle's folder, local or in a bucket.

    Raises:
      BundleError: there is no bundle, or it is damaged, inconsistent or in a different format.
    """
    try:
        path = storage.normalize(path)
        _refuse_link(path, storage.join(path, MANIFEST))
        content = storage.read(storage.join(path, MANIFEST), _LONGEST_MANIFEST)
        bundle = Bundle(**vars(check_manifest(path, parse_manifest(content))), path=path)
    except storage.UnsupportedStorageError as error:
        raise BundleError(str(error)) from error
    except OSError as error:
        remedy = ""
        if isinstance(error, _NO_FOLDER):
            hint = storage.hint_at_near(path) or storage.hint_at_holder(MANIFEST, path)
            remedy = hint or "name the folder that scenetags train wrote"
        raise BundleError(
            f"no bundle at {path}: {MANIFEST} cannot be read ({error.strerror or error})", remedy
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise BundleError(f"bundle {path}: {MANIFEST} is damaged: {reason}", REMEDY) from error
    total = 0
    for name in bundle.files:
        total += 0 if name == LEARNT_IMAGES else len(bundle.read(name))
        if total > _LARGEST:
            raise BundleError(f"bundle {path}: its files exceed {_LARGEST:,} bytes together")
    return bundle


def seal_bundle(folder: Path, description: Description) -> Bundle:
    """Write the manifest of a folder that holds all other files of a bundle, and load the bundle.

    Args:
      folder: holds the model files, the golden pairs and the model card.
      description: of the bundle.

    Raises:
      BundleError: the description is inconsistent; nothing was written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest = {
        "format": FORMAT,
        "name": description.name,
        "labels": list(description.labels),
        "thresholds": [float(threshold) for threshold in description.thresholds],
        "image_size": description.image_size,
        "resize_filter": description.resize_filter,
        "files": {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "training": description.training,
        "metrics": description.metrics,
        "versions": description.versions,
        **({"rendering": description.rendering.described()} if description.rendering else {}),
        **({"reference": description.reference.described()} if description.reference else {}),
    }
    sealed = {**manifest, "digest": digest_manifest(manifest)}
    encoded = json.dumps(sealed, indent=2, ensure_ascii=False).encode()
    # Checked before it is written: no one must find a manifest that cannot be loaded.
    try:
        check_manifest(str(folder), parse_manifest(encoded))
    except ValueError as error:
        raise BundleError(f"bundle {folder}: {MANIFEST} cannot be written: {error}") from error
    storage.write(str(folder / MANIFEST), encoded)
    return load_bundle(str(folder))


def _refuse_link(folder: str, path: str) -> None:
    """Refuse a file that leads elsewhere: the bundle would be a different one wherever it is copied.

    Raises:
      BundleError: it does.
    """
    if storage.leads_away(folder, path):
        raise BundleError(
            f"{path} is a link", "copy the bundle together with the files that it links to, e.g. with cp -rL"
        )


def _read(path: str, digest: str) -> bytes:
    # Local files are cached by the operating system.
    return _read_once(path, digest) if storage.is_remote(path) else storage.read(path, _LARGEST)


@lru_cache(maxsize=64)
def _read_once(path: str, digest: str) -> bytes:
    """Read a file of a remote bundle once per process, since each load verifies every file."""
    return storage.read(path, _LARGEST)

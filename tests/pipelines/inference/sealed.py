"""A sealed bundle, and what is done to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from pipelines.inference.bundle import MANIFEST, BundleError, load_bundle

LABELS = ("clear", "water, deep", "forêt 🌲")
FIELDS: dict[str, Any] = {
    "name": "small",
    "labels": LABELS,
    "thresholds": (0.25, 0.5, 1.0),
    "image_size": 8,
    "resize_filter": "box",
    "training": {"images": 12, "epochs": [1, 2]},
    "metrics": {"f2": 0.75},
    "versions": {"numpy": np.__version__},
}

# Hypothesis wants fixtures that every example may share; what these examples write, they put back.
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_refused(folder: Path, reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as caught:
        load_bundle(str(folder))
    assert_is_clear(caught.value, folder)


def assert_is_clear(error: Exception, folder: Path) -> None:
    assert "\n" not in str(error)
    assert str(folder) in str(error), "the message names the bundle"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None], *, reseal: bool = True) -> None:
    """Change the manifest, and give it the digest of its new content unless told not to."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["digest"]
    change(manifest)
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    digest = {"digest": hashlib.sha256(canonical.encode()).hexdigest()} if reseal else {}
    (folder / MANIFEST).write_text(json.dumps({**manifest, **digest}))


def rewrite_files(folder: Path) -> None:
    """Give the manifest the digests of the files that are there now."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    digests = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    rewrite(folder, lambda manifest: manifest.update(files=digests))

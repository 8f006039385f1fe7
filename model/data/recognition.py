"""Recognize images that a network has learnt from, by their files: figures that are measured on them flatter."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from model.data.dataset import spread
from model.data.learnt import NOTHING, Learnt, digest_file, read_learnt
from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.inference.bundle import load_bundle
from pipelines.labels import Finding

_MOST_HERE, _MOST_IN_BUCKETS = 1_000, 200
_LARGEST = 1 << 24
_AT_ONCE = 32


def find_learnt(bundle: str, digest: str, paths: Sequence[str]) -> Finding | None:
    """Find out which of some images the network of a bundle has learnt from; None if none is known to be learnt.

    Nothing is known if the bundle is not there any more, was made by `import`, or is another one by now. Up to 1,000
    images on this machine and 200 in buckets are compared, evenly spaced, if they can be read; neither windows of
    scenes, nor parts of archives, nor files of more than 16 MiB.

    Args:
      bundle: the path of the bundle; empty if that is unknown.
      digest: of the bundle that is meant.
      paths: of the images.
    """
    learnt = _read_learnt(bundle, digest) if bundle else NOTHING
    if not len(learnt.digests):
        return None
    chosen = _choose(paths)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        digests = list(pool.map(_digest, chosen))
    read = {path: one for path, one in zip(chosen, digests, strict=True) if one is not None}
    are_learnt = np.isin(np.array(list(read.values()), np.uint64), learnt.digests)
    names = tuple(posixpath.basename(path) for path, is_learnt in zip(read, are_learnt, strict=True) if is_learnt)
    if not names:
        return None
    return Finding(f"images that the model has learnt from, of {len(read):,} compared: the figures flatter", names)


def _choose(paths: Sequence[str]) -> list[str]:
    """Choose which images to compare: of those in buckets fewer, and none if the first cannot be read."""
    remote = [path for path in paths if storage.is_remote(path)]
    local = [path for path in paths if not storage.is_remote(path)]
    if remote and _digest(remote[0]) is None:
        # Each of the others may take as long as it takes to give up.
        remote = []
    several = ((local, _MOST_HERE), (remote, _MOST_IN_BUCKETS))
    return [of_place[index] for of_place, most in several for index in spread(len(of_place), most)]


def _read_learnt(path: str, digest: str) -> Learnt:
    try:
        bundle = load_bundle(path)
        return read_learnt(bundle) if bundle.digest == digest else NOTHING
    except (ScenetagsError, OSError):
        return NOTHING


def _digest(path: str) -> int | None:
    """Return the digest of an image's file as `learnt.bin` has it; None if it cannot be read."""
    if not storage.is_remote(path) and not os.path.isfile(path):
        return None
    try:
        data = storage.read(path, _LARGEST)
    except (ScenetagsError, OSError):
        return None
    return digest_file(data)

"""Record which images a network has learnt from, so that none of its successors is measured on them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.inference.bundle import LEARNT_IMAGES, Bundle, BundleError

IS_COMPLETE = "learnt_images_known"
"""In the description of a bundle's training: whether the file has all images that its network has learnt from."""

# In the file they are sorted. A million images take 16 MB.
_DIGEST = np.dtype("<u8")


class Learnt(NamedTuple):
    """The images that a network has learnt from, those of the bundles that it started from included.

    Attributes:
      digests: uint64 [D]: of each image one of its file, which holds at any image size, and one of its pixels, which
        holds for copies in other files.
      is_complete: whether these are all images; not if a bundle that it started from has no such record.
    """

    digests: NDArray[np.uint64]
    is_complete: bool = True

    def has(self, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which images, by the digests of each, uint64 [N, 2], were learnt: bool [N]."""
        return np.asarray(np.isin(digests, self.digests).any(axis=1))

    def with_images(self, digests: NDArray[np.uint64]) -> Learnt:
        """Return the record with further images, by the digests of each, uint64 [N, 2]."""
        return self._replace(digests=np.union1d(self.digests, digests))

    def write(self, folder: Path) -> None:
        """Write the record into the folder of a bundle.

        Raises:
          OSError: it cannot be written.
        """
        (folder / LEARNT_IMAGES).write_bytes(np.unique(self.digests).astype(_DIGEST).tobytes())


NOTHING = Learnt(np.zeros(0, np.uint64))


def read_learnt(bundle: Bundle) -> Learnt:
    """Read the record of a bundle; that of an early one, which has none, is incomplete.

    Raises:
      BundleError: the record is damaged.
    """
    if LEARNT_IMAGES not in bundle.files:
        return NOTHING._replace(is_complete=False)
    content = bundle.read(LEARNT_IMAGES)
    if len(content) % _DIGEST.itemsize:
        raise BundleError(f"bundle {bundle.path}: {LEARNT_IMAGES} is not a list of digests", "train it again")
    return Learnt(np.frombuffer(content, _DIGEST).astype(np.uint64), bundle.training.get(IS_COMPLETE) is True)


def digest_file(data: bytes) -> int:
    """Return the digest of an image's file, given its content; it fits into 64 bits."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=_DIGEST.itemsize).digest())


def pair(of_files: NDArray[np.uint64], of_pixels: Sequence[str]) -> NDArray[np.uint64]:
    """Return the digests of each image, uint64 [N, 2]; those of pixels are in hexadecimal, and may be longer."""
    shortened = [int(digest[: 2 * _DIGEST.itemsize], 16) for digest in of_pixels]
    return np.stack([of_files, np.array(shortened, np.uint64)], axis=1)

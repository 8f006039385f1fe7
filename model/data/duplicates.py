"""Find images that are the same picture, so that a network is not measured on what it has learnt from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Examples
from pipelines.supervision.machine import available_cores

# Pictures count as nearly identical if at most so many of the 64 bits of their perceptual hashes differ, and their
# thumbnails correlate so well. Of 600 real chips, the two most alike correlate by 0.85; copies at half the quality and
# two thirds of the size differ in 4 bits (median; 95 % in up to 10), and 95 % correlate by 0.95 and more.
MOST_BITS = 10
LEAST_CORRELATION = 0.9

_THUMBNAIL = 32
_PAIRS_AT_ONCE = 1 << 22


def digests(examples: Examples) -> list[str]:
    """Return a digest of each image's pixels: images of the same digest are identical at this size."""
    return _each(examples, lambda pixels: hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest())


def contradictory(digests: Sequence[str], targets: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return pairs of identical images that have different labels, by their indices: each image with the first such.

    Args:
      digests: of N images, as `digests` returns them.
      targets: float32 [N, L], 1.0 if image n has label l.
    """
    first: dict[str, int] = {}
    pairs = [(image, first.setdefault(digest, image)) for image, digest in enumerate(digests)]
    return [(image, other) for image, other in pairs if (targets[image] != targets[other]).any()]


def nearest(examples: Examples, others: Examples) -> list[int | None]:
    """Return for each image one of the others that is nearly the same picture, by its index; None if there is none.

    Brightness and contrast do not matter. Turned and mirrored pictures are different ones.
    """
    mine, theirs = _hashes(examples), _hashes(others)
    closest = np.full(len(mine), -1)
    fewest = np.full(len(mine), MOST_BITS + 1)
    # Hashes that differ in at most MOST_BITS bits agree in at least one of MOST_BITS + 1 pieces.
    for first in range(MOST_BITS + 1):
        pieces, others_pieces = (_piece(hashes, first) for hashes in (mine, theirs))
        for value in np.unique(pieces):
            here, there = np.flatnonzero(pieces == value), np.flatnonzero(others_pieces == value)
            step = max(1, _PAIRS_AT_ONCE // max(1, len(there)))
            for start in range(0, len(here) if len(there) else 0, step):
                chosen = here[start : start + step]
                bits = np.bitwise_count(mine[chosen][:, None] ^ theirs[there])
                at = bits.argmin(axis=1)
                least = bits[np.arange(len(chosen)), at]
                closer = least < fewest[chosen]
                closest[chosen[closer]], fewest[chosen[closer]] = there[at[closer]], least[closer]
    found = np.flatnonzero(closest >= 0)
    alike = (_thumbnails(examples.take(found)) * _thumbnails(others.take(closest[found]))).sum(axis=1)
    similar = dict(zip(found[alike >= LEAST_CORRELATION], closest[found[alike >= LEAST_CORRELATION]], strict=True))
    return [int(similar[image]) if image in similar else None for image in range(len(mine))]


def _hashes(examples: Examples) -> NDArray[np.uint64]:
    """Return the perceptual hash of each image, uint64 [N]."""
    import imagehash

    packed = _each(examples, lambda pixels: np.packbits(imagehash.dhash(_thumbnail(pixels)).hash))
    return np.array(packed, np.uint8).reshape(-1, 8).view(np.uint64)[:, 0]


def _piece(hashes: NDArray[np.uint64], number: int) -> NDArray[np.uint64]:
    """Return the bits of one of `MOST_BITS + 1` pieces of each hash; together, the pieces are the whole hash."""
    begin, end = (64 * edge // (MOST_BITS + 1) for edge in (number, number + 1))
    return (hashes >> np.uint64(begin)) & np.uint64((1 << (end - begin)) - 1)


def _thumbnails(examples: Examples) -> NDArray[np.float32]:
    """Return small grey pictures as vectors of length 1, float32 [N, P], whose products are correlations."""
    if not len(examples.rows):
        return np.zeros((0, 1), np.float32)
    levels = np.array(_each(examples, lambda pixels: np.asarray(_thumbnail(pixels), np.float32).ravel()))
    vectors = levels - levels.mean(axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)


def _thumbnail(pixels: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(pixels).convert("L").reduce(max(1, len(pixels) // _THUMBNAIL))


def _each(examples: Examples, look: Callable[[NDArray[np.uint8]], Any]) -> list[Any]:
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(lambda row: look(examples.pixels[row]), examples.rows.tolist()))

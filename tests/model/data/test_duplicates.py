"""The same picture is found again, also if it was compressed or resized in between."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.data import duplicates
from model.data.dataset import Examples

pytest.importorskip("imagehash", reason="ImageHash is not installed: pip install 'scenetags[train]'")

SIZE = 64


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """Draw smooth pictures, uint8 [N, S, S, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(each).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for each in coarse]
    )


def examples(pixels: NDArray[np.uint8]) -> Examples:
    return Examples(pixels, np.arange(len(pixels)), np.zeros((len(pixels), 1), np.float32))


def copied(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a picture smaller, brighter and compressed."""
    file = io.BytesIO()
    Image.fromarray(pixels).resize((40, 40)).point(lambda level: min(level * 0.9 + 20, 255)).save(
        file, "jpeg", quality=60
    )
    return np.asarray(Image.open(file).resize((SIZE, SIZE)))


def test_copies_are_found_and_other_pictures_are_not() -> None:
    known, others = pictures(300, seed=0), pictures(60, seed=1)
    for index in (3, 40):
        others[index] = copied(known[100 + index])
    others[7] = known[5]
    found = duplicates.nearest(examples(others), examples(known))
    assert {image: other for image, other in enumerate(found) if other is not None} == {3: 103, 40: 140, 7: 5}


def test_whichever_bits_differ_a_copy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 1 << 64, 200, np.uint64)
    changes = [sum(1 << int(bit) for bit in rng.choice(64, duplicates.MOST_BITS, replace=False)) for _ in hashes]
    one, other = examples(pictures(len(hashes), seed=0)), examples(pictures(len(hashes), seed=0))
    hashes_of = {id(one): hashes, id(other): hashes ^ np.array(changes, np.uint64)}
    monkeypatch.setattr(duplicates, "_hashes", lambda images: hashes_of[id(images)])

    assert duplicates.nearest(one, other) == list(range(len(hashes)))


def test_identical_pixels_have_the_same_digest() -> None:
    pixels = pictures(4, seed=2)
    pixels[3] = pixels[1]
    digests = duplicates.digests(examples(pixels))
    assert digests[1] == digests[3]
    assert len(set(digests)) == 3


def test_blank_images_resemble_nothing() -> None:
    blank = np.full((2, SIZE, SIZE, 3), 255, np.uint8)
    assert duplicates.nearest(examples(blank), examples(blank // 2)) == [None, None]

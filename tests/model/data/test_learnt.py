"""A bundle records which images its network has learnt from, in a few bytes of each."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from model.data.learnt import IS_COMPLETE, NOTHING, Learnt, pair, read_learnt
from pipelines.inference.bundle import LEARNT_IMAGES, Bundle, BundleError, load_bundle

IMAGES = np.arange(1, 9, dtype=np.uint64).reshape(4, 2) << np.uint64(60)


@pytest.fixture
def bundle(bundle_path: str, tmp_path: Path) -> Bundle:
    return dataclasses.replace(load_bundle(bundle_path), path=str(tmp_path), training={IS_COMPLETE: True})


def sealed(bundle: Bundle, content: bytes) -> Bundle:
    Path(bundle.path, LEARNT_IMAGES).write_bytes(content)
    return dataclasses.replace(bundle, files={LEARNT_IMAGES: hashlib.sha256(content).hexdigest()})


def test_a_record_comes_back_as_it_was_written(bundle: Bundle, tmp_path: Path) -> None:
    record = NOTHING.with_images(IMAGES).with_images(IMAGES[:2])
    record.write(tmp_path)
    content = (tmp_path / LEARNT_IMAGES).read_bytes()
    assert len(content) == 8 * len(np.unique(IMAGES))
    found = read_learnt(sealed(bundle, content))
    np.testing.assert_array_equal(found.digests, record.digests)
    assert found.is_complete


def test_an_image_is_known_by_its_file_or_its_pixels() -> None:
    digests = pair(np.array([1, 2, 3], np.uint64), ["000000000000000a" + "f" * 16, "b", "c"])
    record = Learnt(np.array([2, 10], np.uint64))
    assert record.has(digests).tolist() == [True, True, False]
    assert not NOTHING.has(digests).any()


def test_a_bundle_without_a_record_or_that_says_so_is_incomplete(bundle: Bundle) -> None:
    assert not read_learnt(dataclasses.replace(bundle, files={})).is_complete
    assert not read_learnt(dataclasses.replace(sealed(bundle, b""), training={})).is_complete
    assert read_learnt(sealed(bundle, b"")).is_complete


def test_a_damaged_record_is_one_line(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"learnt\.bin is not a list of digests; train it again"):
        read_learnt(sealed(bundle, b"12345678901"))

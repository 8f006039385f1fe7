"""Images to train on are listed wherever they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from model.data import dataset
from model.data.listing import fingerprint, list_images, versions
from pipelines import labels, storage
from tests import image_files as files
from tests.conftest import Bucket


def test_images_in_a_bucket_are_listed_and_decoded_like_those_here(bucket: Bucket, tmp_path: Path) -> None:
    picture = files.png(np.full((8, 8, 3), 90, np.uint8), "RGB")
    bundle = [f"bundle/{name}" for name in ("bundle.json", "golden.npz", "training.png", "reliability.png")]
    masks = "b/x_3B_udm2.tif", "b/SCL.tif", "b/LC80440342014077LGN00_BQA.TIF"
    for name in ("b/2.PNG", "b/1.png", "b/.hidden.png", "@eaDir/1.png", "notes.txt", *masks, *bundle):
        storage.write(f"{bucket.path}/{name}", picture)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture)
    there, here = list_images(f"{bucket.path}/"), list_images(str(tmp_path))
    assert [path.removeprefix(bucket.path) for path in there] == ["/b/1.png", "/b/2.PNG"]
    assert [path.removeprefix(str(tmp_path)) for path in here] == ["/b/1.png", "/b/2.PNG"]
    assert dataset.decode(there, 8, tmp_path / "cache").pixels.tolist() == np.full((2, 8, 8, 3), 90).tolist()

    before = fingerprint(there)
    assert fingerprint(list_images(bucket.path)) == before
    storage.write(f"{bucket.path}/b/1.png", files.png(np.full((8, 8, 3), 91, np.uint8), "RGB"))
    assert fingerprint(list_images(bucket.path)) != before


def test_a_bucket_without_images_is_one_line(bucket: Bucket) -> None:
    with pytest.raises(labels.LabelError, match="no images in this folder"):
        list_images(f"{bucket.path}/nothing")


def test_a_file_that_changes_has_another_version(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    before = fingerprint(versions([str(path)]))
    os.utime(path, (1, 1))
    assert fingerprint(versions([str(path)])) != before

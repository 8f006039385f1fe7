"""Scenes that a bucket stores compressed."""

from __future__ import annotations

import gzip
from contextlib import closing
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.images.rendering import NO_RENDERING
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Failure
from pipelines.scenes.grid import Grid
from tests.conftest import Bucket
from tests.pipelines.storage.test_gzipped import upload
from tests.scene_files import samples, write_scene

MOST = 64_000_000


@pytest.mark.parametrize("kept", [20_000, 100], ids=["its parts", "its directory"])
def test_a_scene_that_its_bucket_compresses_is_not_called_truncated(kept: int, bucket: Bucket, tmp_path: Path) -> None:
    values = samples(256, 256, 3, "uint8")
    values[:, kept // 768 :] = 0
    scene = write_scene(tmp_path / "scene.tif", values, tile=64, photometric="RGB")
    path = f"{bucket.path}/scene.tif"
    upload(path, gzip.compress(scene.read_bytes()))
    listed = list(cut_scenes([refer(path)], CutSettings(Grid(64, 64), NO_RENDERING, MOST)))
    source = ImageSource(DecodeSettings(64, "bilinear", MOST), Limits(), 2, grid=Grid(64, 64))
    with closing(LookAhead(source, 4)) as ahead:
        read = [item if isinstance(item, Failure) else next(ahead.read([item])) for item in listed]
    assert all(isinstance(item, Failure) for item in read), read
    [message] = {item.message for item in read if isinstance(item, Failure)}
    assert message == (
        "scene that its bucket stores compressed: it is unknown where in it parts lie; "
        "store it without Content-Encoding: gzip"
    )
    assert len(storage.read(path)) == scene.stat().st_size

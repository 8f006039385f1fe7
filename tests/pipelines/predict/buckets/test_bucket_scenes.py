"""Scenes in buckets: the windows of a folder, in few requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import storage
from tests.conftest import Bucket
from tests.pipelines.predict.buckets.tagging import rows, run
from tests.scene_files import samples, write_scene

FLAGS: dict[str, Any] = {"tile": 64, "bands": "3,2,1", "stretch": "0:2500"}
WINDOWS = 24


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a scene of 4 x 6 windows, of which each row is a part, larger than what is fetched of it at first."""
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    return write_scene(tmp_path / "scene.tif", samples(256, 384), tile=64)


def without_place(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "scene"} for row in found]


def test_a_scene_in_a_bucket_has_the_same_windows_as_in_a_folder(
    scene: Path,
    bucket: Bucket,
    bundle_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(input=scene, model=bundle_path, output=tmp_path / "out", **FLAGS) == 0
    expected = rows(str(tmp_path / "out"))
    assert len(expected) == WINDOWS
    storage.write(f"{bucket.path}/scene.tif", scene.read_bytes())

    requests: list[int] = []
    read_range = storage.read_range

    def count(path: str, start: int, length: int, fingerprint: str = "") -> bytes:
        requests.append(start)
        return read_range(path, start, length, fingerprint)

    monkeypatch.setattr(storage, "read_range", count)
    output = f"{bucket.path}/out"
    assert run(input=f"{bucket.path}/scene.tif", model=bundle_path, output=output, **FLAGS) == 0
    assert without_place(rows(output)) == without_place(expected)
    assert len(requests) <= 1 + 4, "its directories, and each row of windows"

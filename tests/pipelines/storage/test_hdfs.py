"""HDFS, through Beam and the library that it takes for it: files differ from folders, and errors from each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import predict
from pipelines.storage import patience, stores
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.outputs import rows
from tools import webhdfs
from tools.webhdfs import WebHdfs

ODD = "no such file 404 #?%20.jpg"
FILES = "chips/a.jpg", "chips/chip_4041.jpg", "chips/sub/b.jpg", f"chips/sub/deep/{ODD}", "chips2/c.jpg"


@pytest.fixture
def hdfs(tmp_path: Path) -> Iterator[WebHdfs]:
    for seed, name in enumerate(FILES):
        path = tmp_path / "root/data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(unmarked_rgba_jpeg(picture(seed=seed)))
    (tmp_path / "root/data/chips/nothing").mkdir()
    stores.open_store.cache_clear()
    with webhdfs.serve(tmp_path / "root") as served:
        yield served
    stores.open_store.cache_clear()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tag(hdfs: WebHdfs, pattern: str, bundle_path: str, output: Path) -> list[str]:
    """Tag what a pattern names in HDFS; return the paths below `data/` of what was tagged."""
    flags = [f"--model={bundle_path}", f"--output={output}", "--max_failure_rate=1", "--progress=off"]
    assert predict.main([f"--input=hdfs://data/{pattern}", *flags, *hdfs.flags]) == 0
    return [row["path"].removeprefix("hdfs://data/") for row in rows(output)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("chips", FILES[:4]),
        ("", FILES),
        ("chips/*.jpg", FILES[:2]),
        ("chips/s*/*.jpg", FILES[2:3]),
        ("c*/**/*.jpg", FILES),
        ("chips/sub/b.jpg", FILES[2:3]),
    ],
)
def test_folders_are_searched_and_are_no_images(
    hdfs: WebHdfs, pattern: str, expected: tuple[str, ...], bundle_path: str, output: Path
) -> None:
    assert tag(hdfs, pattern, bundle_path, output) == sorted(expected)
    assert rows(output, "failures") == []


def test_what_cannot_be_read_says_why_whatever_its_name_is(
    hdfs: WebHdfs, bundle_path: str, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.0)
    hdfs.denied, hdfs.drops = {"a.jpg"}, {"chip_4041.jpg": 100, ODD: 100}
    (tmp_path / "root/data/chips/empty.jpg").touch()

    assert tag(hdfs, "chips", bundle_path, output) == ["chips/sub/b.jpg"]
    failed = {row["path"].rpartition("/")[2]: (row["stage"], row["error"]) for row in rows(output, "failures")}
    assert failed == {
        "a.jpg": ("read", "PermissionError"),
        "chip_4041.jpg": ("read", "TransientError"),
        "empty.jpg": ("decode", "NotAnImageError"),
        ODD: ("read", "TransientError"),
    }


def test_a_lost_connection_is_tried_again(hdfs: WebHdfs, bundle_path: str, output: Path) -> None:
    hdfs.drops = {"c.jpg": 1}
    assert tag(hdfs, "chips2", bundle_path, output) == ["chips2/c.jpg"]


def test_what_is_not_there_is_said(
    hdfs: WebHdfs, bundle_path: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--model={bundle_path}", f"--output={output}", "--progress=off", *hdfs.flags]
    assert predict.main(["--input=hdfs://data/gone.jpg", *flags]) == 2
    assert capsys.readouterr().err.startswith("scenetags predict: no images in hdfs://data/gone.jpg (looked for files")

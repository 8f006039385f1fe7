"""Storage that only Beam knows how to reach: it can be read like any bucket, and is not written to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.io import hadoopfilesystem
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import predict, storage
from pipelines.storage import stores
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.outputs import rows

FILES: dict[str, bytes] = {}


class ShelfFileSystem(FileSystem):  # type: ignore[misc]
    """A file system that a user has taught Beam, as one registers any: by a subclass."""

    @classmethod
    def scheme(cls) -> str:
        return "shelf"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath, *paths))

    def split(self, path: str) -> tuple[str, str]:
        raise NotImplementedError

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path, data in FILES.items():
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data), 1.0)

    def __init__(self, pipeline_options: Any) -> None:
        super().__init__(pipeline_options)
        # As Azure's does; Beam hands over none before somebody has set some.
        pipeline_options.view_as(PipelineOptions)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> io.BytesIO:
        if path not in FILES:
            raise BeamIOError("Open operation failed", {path: FileNotFoundError(path)})
        if path.endswith("unimported.jpg"):
            raise BeamIOError("Open operation failed", {path: NameError("name 'ShelfClient' is not defined")})
        if path.endswith("unconfigured.jpg"):
            raise BeamIOError("Open operation failed", {path: ValueError("Account URL must be a string.")})
        if path.endswith("forbidden.jpg"):
            raise BeamIOError("Open operation failed", {path: PermissionError("not yours")})
        return io.BytesIO(FILES[path])

    def exists(self, path: str) -> bool:
        return path in FILES

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(FILES[path]), 1.0)

    def _unsupported(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is to be written")

    mkdirs = create = copy = rename = size = last_updated = checksum = delete = _unsupported


@pytest.fixture(autouse=True)
def shelf(bundle_path: str) -> Iterator[None]:
    FILES.update({f"shelf://top/chips/{n} #?.jpg": unmarked_rgba_jpeg(picture(seed=n)) for n in range(5)})
    FILES["shelf://top/chips/forbidden.jpg"] = b"data"
    FILES["shelf://top/chips2/other.jpg"] = b"data"
    FILES["shelf://top/list.txt"] = b"chips/0 #?.jpg\nchips/gone.jpg\n"
    for path in Path(bundle_path).rglob("*"):
        if path.is_file():
            FILES[f"shelf://top/bundle/{path.relative_to(bundle_path)}"] = path.read_bytes()
    yield
    FILES.clear()


def test_images_lists_and_bundle_are_read(tmp_path: Path) -> None:
    flags = ["--model=shelf://top/bundle", f"--output={tmp_path}/out", "--max_failure_rate=1", "--progress=off"]

    assert predict.main(["--input=shelf://top/chips", "--input_list=shelf://top/list.txt", *flags]) == 0

    assert [row["path"] for row in rows(tmp_path / "out")] == [
        f"shelf://top/chips/{number} #?.jpg" for number in range(5)
    ]
    failures = rows(tmp_path / "out", "failures")
    assert [(row["path"], row["stage"], row["error"]) for row in failures] == [
        ("shelf://top/chips/forbidden.jpg", "read", "PermissionError"),
        ("shelf://top/chips/gone.jpg", "list", "FileNotFoundError"),
    ]


def test_a_part_of_a_file_is_read() -> None:
    FILES["shelf://top/x"] = bytes(range(256)) * 8000

    assert storage.read_range("shelf://top/x", 255, 3) == bytes([255, 0, 1])
    with storage.open_to_read("shelf://top/x") as file:
        file.seek(-1, 2)
        assert file.read() == bytes([255])


def test_an_output_there_is_refused(tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main(["--input=chips", f"--model={bundle_path}", "--output=shelf://top/out"]) == 2

    said = capsys.readouterr().err
    assert "--output shelf://top/out: an output must be a local folder, or in gs:// or in s3://" in said
    with pytest.raises(OSError, match="is read-only"):
        storage.write("shelf://top/y", b"")


def test_a_flag_that_is_missing_is_asked_for_at_once() -> None:
    FILES["shelf://top/unconfigured.jpg"] = b""

    with pytest.raises(storage.NoAccessError) as refused:
        storage.read("shelf://top/unconfigured.jpg")
    assert str(refused.value) == "cannot access shelf://: Account URL must be a string; give Beam's own flags for it"


def test_a_library_that_is_not_installed_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stores.open_store.cache_clear()
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    FILES["shelf://top/unimported.jpg"] = b""

    with pytest.raises(storage.NoAccessError, match=r"cannot access shelf://: name 'ShelfClient' is not defined"):
        storage.read("shelf://top/unimported.jpg")
    monkeypatch.setattr(hadoopfilesystem, "hdfs", None)
    for scheme, extra, read in (("azfs", "azure", storage.look_up), ("hdfs", "hadoop", storage.read)):
        with pytest.raises(storage.NoAccessError, match=rf"^{scheme}:// needs a library.*'apache-beam\[{extra}\]'$"):
            read(f"{scheme}://host/x")

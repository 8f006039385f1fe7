"""Files that flags name are written where they lead, and links and devices are left what they are."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.commandline.files import check_named, find_bucket, open_named, write_named
from pipelines.commandline.parser import UsageError
from tests.conftest import Bucket


def test_a_link_stays_one_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to("target.json")

    write_named("--json", str(tmp_path / "link.json"), "new")

    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "target.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "target.json"]


def test_an_existing_file_keeps_its_mode_and_its_other_names(tmp_path: Path) -> None:
    path, other = tmp_path / "x.json", tmp_path / "other.json"
    path.write_text("old, and longer")
    path.chmod(0o600)
    os.link(path, other)

    write_named("--json", str(path), "new")

    assert other.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()

    write_named("--json", str(pipe), "new")

    reader.join(10)
    assert received == ["new"]
    assert pipe.is_fifo()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "missing" / "x.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=f"--json {path} cannot be written: {reason}"):
            write_named("--json", str(path), "new")
    with pytest.raises(UsageError, match="/dev/full cannot be written: No space left"):
        write_named("--json", "/dev/full", "new" * 10_000)
    assert list(tmp_path.iterdir()) == []


def test_a_long_text_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path, link = tmp_path / "x.json", tmp_path / "link.json"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to("x.json")

    with pytest.raises(KeyError):
        _write_half(str(link))

    assert path.read_text() == "old"
    with open_named("--json", str(link)) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert (path.read_text(), path.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o600, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "x.json"]


def test_a_long_text_goes_to_a_pipe_without_a_name() -> None:
    # As of `--csv >(gzip > x.csv.gz)`: its link in /dev/fd leads to `pipe:[4711]`.
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as pipe:
        with open_named("--csv", f"/dev/fd/{writing}") as file:
            file.write("new")
        os.close(writing)
        assert pipe.read() == "new"


def test_a_long_text_goes_to_a_device_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "full.json").symlink_to("/dev/full")

    with (
        pytest.raises(UsageError, match=r"full\.json cannot be written: No space left"),
        open_named("--json", str(tmp_path / "full.json")) as file,
    ):
        file.write("new" * 10_000)
    with (
        pytest.raises(UsageError, match=r"x\.json cannot be written: No such file"),
        open_named("--json", str(tmp_path / "missing" / "x.json")),
    ):
        pass


def test_a_file_in_a_bucket_is_written_whole_or_not_at_all(bucket: Bucket) -> None:
    path = f"{bucket.path}/figures.json"
    check_named("--json", path, (".json",))
    assert find_bucket(None, "here.html", path) == storage.bucket_of(bucket.path)

    write_named("--json", path, "ältere")
    assert storage.read(path).decode() == "ältere"
    with pytest.raises(KeyError):
        _write_half(path)
    assert storage.read(path).decode() == "ältere"
    with open_named("--json", path) as file:
        file.write("neue: ")
        file.write("größer")
    assert storage.read(path).decode() == "neue: größer"


def test_a_file_that_a_bucket_refuses_is_one_line(bucket: Bucket) -> None:
    bucket.proxy.judge = lambda method, path, headers: 403 if method in ("POST", "PUT") else None
    path = f"{bucket.path}/figures.json"
    with pytest.raises(UsageError, match=rf"^--json {path} cannot be written: .*\(403\)$"):
        write_named("--json", path, "new")
    with (
        pytest.raises(UsageError, match=rf"^--json {path} cannot be written: .*\(403\)$"),
        open_named("--json", path) as file,
    ):
        file.write("new")


def _write_half(path: str) -> None:
    with open_named("--json", path) as file:
        file.write("half")
        raise KeyError

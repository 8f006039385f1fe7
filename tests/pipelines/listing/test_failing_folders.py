"""Disks and servers that fail while a folder is listed: what passes is not seen, and what does not is a failure."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.listing import InputError, list_images
from pipelines.records import Failure, Listed
from pipelines.storage import TransientError, local, patience, stores
from pipelines.storage.buckets import BucketStore
from pipelines.storage.objects import Page, PageRequest
from tests.pipelines.listing.test_folders import Simulated, plant

Break = Callable[[str, int, int], Counter[str]]


@pytest.fixture
def break_folder(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Let looks at folders fail, a number of times each; the fixture counts them."""

    def break_folder(name: str, error: int, times: int) -> Counter[str]:
        looks: Counter[str] = Counter()

        def failing(look: Callable[..., Any]) -> Callable[..., Any]:
            def fail(path: Any, *arguments: Any, **more: Any) -> Any:
                if os.path.basename(str(path)).startswith(name):
                    looks[str(path)] += 1
                    if looks[str(path)] <= times:
                        raise OSError(error, os.strerror(error))
                return look(path, *arguments, **more)

            return fail

        monkeypatch.setattr(os, "scandir", failing(os.scandir))
        monkeypatch.setattr(os, "stat", failing(os.stat))
        return looks

    monkeypatch.setattr(local, "SECONDS_BETWEEN_ATTEMPTS", (0.0, 0.0))
    return break_folder


PATTERNS = ("", "/", "/**", "/**/*.jpg", "/?/*.jpg", "/*", "/*/")


@pytest.mark.parametrize("error", [errno.ESTALE, errno.EIO])
def test_a_folder_that_fails_once_is_listed(tmp_path: Path, break_folder: Break, error: int) -> None:
    plant(tmp_path, *(f"{folder}/x.jpg" for folder in "abc"))
    for pattern in PATTERNS:
        break_folder("b", error, 1)
        assert [item.path for item in list_images([f"{tmp_path}{pattern}"])] == [
            f"{tmp_path}/{folder}/x.jpg" for folder in "abc"
        ]


@pytest.mark.parametrize("error", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_a_folder_that_fails_for_good_is_a_failure_however_it_is_named(
    tmp_path: Path, break_folder: Break, error: int
) -> None:
    plant(tmp_path, *(f"{folder}/x.jpg" for folder in "abc"))
    break_folder("b", error, 1_000_000)
    for pattern in PATTERNS:
        found = list(list_images([f"{tmp_path}{pattern}"]))
        assert [item.path for item in found] == [f"{tmp_path}/a/x.jpg", f"{tmp_path}/b", f"{tmp_path}/c/x.jpg"]
        assert isinstance(found[1], Failure)
        assert (found[1].error, found[1].message) == ("UnlistedFolderError", os.strerror(error))


def test_an_archive_that_cannot_be_looked_up_may_hide_images(tmp_path: Path, break_folder: Break) -> None:
    plant(tmp_path, "x.tar", "a.jpg")
    (tmp_path / "list.txt").write_text("x.tar\na.jpg\nx.tar::b.jpg\n")
    break_folder("x.tar", errno.EACCES, 1_000_000)

    listed = [
        *list_images([f"{tmp_path}/*.tar"]),
        *list_images([], f"{tmp_path}/list.txt"),
    ]

    assert [(os.path.basename(item.path), item.error) for item in listed if isinstance(item, Failure)] == [
        ("x.tar", "UnlistedFolderError"),
        ("x.tar", "UnlistedFolderError"),
        # One row, whatever is in the archive.
        ("x.tar::b.jpg", "PermissionError"),
    ]


def test_a_disk_that_is_gone_is_not_waited_for_at_every_folder(tmp_path: Path, break_folder: Break) -> None:
    plant(tmp_path, *(f"b{number}/x.jpg" for number in range(100)))
    looks = break_folder("b", errno.EIO, 1_000_000)

    assert len(list(list_images([str(tmp_path)]))) == 100
    assert looks.total() == 10 * 3 + 90


@pytest.mark.parametrize("pattern", ["", "/**/*.jpg"])
def test_an_input_that_fails_itself_is_not_one_that_does_not_exist(
    tmp_path: Path, break_folder: Break, pattern: str
) -> None:
    plant(tmp_path, "gone/x.jpg")
    break_folder("gone", errno.ESTALE, 1_000_000)

    with pytest.raises(InputError, match=f"cannot list {tmp_path}/gone.*: Stale file handle"):
        list(list_images([f"{tmp_path}/gone{pattern}"], allow_empty=True))


class Failing(Simulated):
    """A bucket with pages of two objects, of which one fails a number of times."""

    def __init__(self, keys: list[str], times: int, page: int = 1) -> None:
        super().__init__(keys)
        self.times = times
        self.failing = 2 * page

    def page(self, asked: PageRequest) -> Page:
        begin = int(asked.following or 0)
        if begin == self.failing and self.times:
            self.times -= 1
            raise TransientError(errno.EIO, "Service Unavailable (503)")
        entries = super().page(PageRequest(asked.bucket, asked.prefix)).entries
        return Page(entries[begin : begin + 2], (), str(begin + 2) if begin + 2 < len(entries) else None)


@pytest.mark.parametrize("pattern", ["", "/**/*.jpg", "/**"])
def test_a_page_of_a_bucket_that_fails_once_is_not_seen_and_for_good_is_a_failure_behind_the_others(
    monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    keys = [f"d/{number}.jpg" for number in range(5)]
    paths = [f"gs://bucket/{key}" for key in keys]
    monkeypatch.setattr(patience, "SECONDS", 0.3)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.01)

    def listed(times: int, page: int = 1) -> list[Listed]:
        objects = BucketStore(Failing(keys, times, page))  # type: ignore[arg-type]
        monkeypatch.setattr(stores, "bucket_store", lambda path: objects)
        return list(list_images([f"gs://bucket/d{pattern}"], allow_empty=True))

    assert [item.path for item in listed(1)] == paths
    *images, failure = listed(1_000_000)
    assert [item.path for item in images] == paths[:2]
    assert isinstance(failure, Failure)
    assert (failure.path, failure.error) == ("gs://bucket/d/", "UnlistedFolderError")
    assert failure.message == f"Service Unavailable (503); the last object that was listed is {paths[1]}"
    # Of nothing there would be no row.
    with pytest.raises(InputError, match=r"cannot list gs://bucket/d.*: Service Unavailable \(503\)"):
        listed(1_000_000, page=0)

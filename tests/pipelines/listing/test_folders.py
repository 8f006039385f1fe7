"""Links, depth and patterns: whatever a tree of folders looks like, a listing of it ends, and misses nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.listing import InputError, list_images
from pipelines.listing.names import compile_pattern
from pipelines.records import Failure
from pipelines.storage import stores
from pipelines.storage.buckets import BucketStore
from pipelines.storage.objects import Entry, Page, PageRequest


def plant(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def found(folder: Path, pattern: str = "") -> list[str]:
    return [os.path.relpath(item.path, folder) for item in list_images([os.path.join(folder, pattern)])]


@pytest.mark.parametrize("pattern", ["", "*", "*/", "**", "**/*.jpg", "?/**/*.jpg"])
def test_links_between_folders_multiply_nothing(tmp_path: Path, pattern: str) -> None:
    names = "abcdefghijkl"
    plant(tmp_path, *(f"{name}/{name}.jpg" for name in names))
    for name in names:
        for other in names:
            (tmp_path / name / f"to {other}").symlink_to(f"../{other}")

    # By way of links alone, there are more than a billion paths.
    assert found(tmp_path, pattern) == [f"{name}/{name}.jpg" for name in names]


@pytest.mark.parametrize("pattern", ["", "*", "*/", "**", "**/*", "*.jpg", "?/*", "?/*.jpg"])
def test_a_link_to_the_folder_above_doubles_nothing(tmp_path: Path, pattern: str) -> None:
    plant(tmp_path, "a/x.jpg", "a/b/y.jpg", "top.jpg", "notes.txt")
    (tmp_path / "a/up").symlink_to("..")

    names = [os.path.basename(path) for path in found(tmp_path, pattern)]

    assert names
    assert len(names) == len(set(names)), "a folder that is reached at two places in the pattern is listed once"


def test_a_folder_outside_is_listed_once_by_the_first_link(tmp_path: Path) -> None:
    plant(tmp_path, "outside/deep/a.jpg", "in/b.jpg")
    (tmp_path / "in/2").symlink_to("../outside")
    (tmp_path / "in/1").symlink_to("../outside/deep")

    assert found(tmp_path / "in") == ["b.jpg", "1/a.jpg"]
    assert found(tmp_path / "in", "2") == ["2/deep/a.jpg"]


def test_a_link_is_followed_where_the_pattern_leads_through_it_alone(tmp_path: Path) -> None:
    plant(tmp_path, "raw/2020/a.jpg", "by-date/readme.txt")
    (tmp_path / "by-date/2020").symlink_to("../raw/2020")
    (tmp_path / "all").symlink_to(".")

    assert found(tmp_path, "by*/2020/*.jpg") == ["by-date/2020/a.jpg"]
    assert found(tmp_path, "by-date") == ["by-date/2020/a.jpg"]
    assert found(tmp_path, "all/raw") == ["all/raw/2020/a.jpg"]
    assert found(tmp_path, "a*/by-date") == ["all/by-date/2020/a.jpg"]
    assert found(tmp_path, "{raw,by-date}") == ["raw/2020/a.jpg", "by-date/2020/a.jpg"]


def test_a_link_to_a_hidden_folder_shows_it(tmp_path: Path) -> None:
    plant(tmp_path, ".store/a.jpg")
    (tmp_path / "shown").symlink_to(".store")

    assert found(tmp_path) == ["shown/a.jpg"]
    assert found(tmp_path, ".s*") == [".store/a.jpg"]


def nest(folder: Path, names: Sequence[str]) -> None:
    """Nest folders with an image each, one at a time: the system refuses long paths, but not deep folders."""
    below = os.open(folder, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=below)
        above, below = below, os.open(name, os.O_RDONLY, dir_fd=below)
        os.close(above)
        os.close(os.open("z.jpg", os.O_CREAT, dir_fd=below))
    os.close(below)


@pytest.mark.parametrize("pattern", ["", "**/*.jpg"])
def test_folders_deeper_than_paths_can_be_are_one_failure(tmp_path: Path, pattern: str) -> None:
    nest(tmp_path, ["d" * 250] * 20)

    listed = list(list_images([os.path.join(tmp_path, pattern)]))

    failures = [(item.error, item.message) for item in listed if isinstance(item, Failure)]
    assert failures == [("UnlistedFolderError", "File name too long")]
    assert len(listed) == (4095 - len(str(tmp_path)) - len("/z.jpg")) // 251 + 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_a_pattern_cannot_look_into_is_a_failure(tmp_path: Path) -> None:
    plant(tmp_path, "a/x.jpg", "b/x.jpg").joinpath("a").chmod(0)

    assert [item.path for item in list_images([f"{tmp_path}/*/*.jpg"])] == [f"{tmp_path}/a", f"{tmp_path}/b/x.jpg"]


NAMES = ("a", "b", "ab", ".h", "a.jpg", "b.jpg", "[a].jpg", "a\\b.jpg", "ä.png", "^.jpg")
TREES = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join), min_size=1, max_size=8, unique=True
)
PIECES = ("*", "**", "?", "a", "b", ".h", "*.jpg", "[ab]*", "[!a]*", "[^a]*", "[[]a]*", "a\\*", "*a*", ".*", "[", "**b")
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("/".join)


class Simulated:
    """A bucket with these objects."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = sorted(keys)

    def look_up(self, bucket: str, key: str) -> Entry:
        if key not in self.keys:
            raise FileNotFoundError
        return Entry(f"gs://{bucket}/{key}", 0, "")

    def page(self, asked: PageRequest) -> Page:
        behind = asked.following or asked.after
        keys = [key for key in self.keys if key.startswith(asked.prefix) and key > behind]
        entries = [Entry(f"gs://{asked.bucket}/{key}", 0, "") for key in keys[: asked.most]]
        return Page(entries, (), keys[asked.most - 1] if len(keys) > asked.most else None)


@given(tree=TREES, pattern=PATTERNS, only_folders=st.booleans())
@settings(max_examples=25)
def test_a_pattern_matches_the_same_here_and_in_a_bucket(tree: list[str], pattern: str, only_folders: bool) -> None:
    # Here, the name of a file that exists is taken literally, even with a slash behind it.
    assume(not only_folders or "*" in pattern)
    # A file cannot have others below it, as an object can.
    files = [name for name in tree if not any(other.startswith(f"{name}/") for other in tree)]
    pattern += "/" * only_folders
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        plant(Path(folder), *files)
        objects = BucketStore(Simulated([f"x/{name}" for name in files]))  # type: ignore[arg-type]
        patch.setattr(stores, "bucket_store", lambda path: objects)
        assert _listed(folder, pattern) == _listed("gs://bucket/x", pattern)


FOLDERS = st.lists(st.sampled_from(["a", "b", ".h", "@eaDir", "[a]", "lost+found"]), max_size=3).map(tuple)
FILES = st.sampled_from(["a.jpg", ".h.jpg", "b.JPG"])
IMAGES = st.tuples(FOLDERS, FILES).map(lambda image: "/".join((*image[0], image[1])))


@given(tree=st.lists(IMAGES, min_size=1, max_size=8, unique=True))
@settings(max_examples=10)
def test_a_folder_is_the_same_as_the_patterns_for_all_images_in_it(tree: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        plant(Path(folder), *(f"d/{name}" for name in tree))
        objects = BucketStore(Simulated([f"x/d/{name}" for name in tree]))  # type: ignore[arg-type]
        patch.setattr(stores, "bucket_store", lambda path: objects)
        expected = [f"/d/{name}" for name in sorted(tree) if not {"@eaDir", "lost+found"} & {*name.split("/")}]
        expected = [name for name in expected if "/." not in name]
        for root in (folder, "gs://bucket/x"):
            for pattern in ("", "d", "d/", "d/**", "**", "*/**", "d/**/*.[jJ][pP][gG]", "d/**/", "d*"):
                assert _listed(root, pattern) == expected, (root, pattern)


def _listed(folder: str, pattern: str) -> list[str]:
    try:
        return sorted(item.path.removeprefix(folder) for item in list_images([f"{folder}/{pattern}"]))
    except InputError:
        return []


@pytest.mark.parametrize("name", ["a.jpg\n", "a\\b", "[a]", "a b"])
def test_a_pattern_matches_whole_names(name: str) -> None:
    assert compile_pattern("*")(name)
    assert not compile_pattern("*.jpg")(name)
    assert compile_pattern(name.replace("[", "[[]"))(name)

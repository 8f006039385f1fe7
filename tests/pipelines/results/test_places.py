"""Copies have the names of their images, stay inside their folder, and never take the name of another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.results.selecting.places import PARTIAL, common_folder, name_copies
from pipelines.results.sources import Source, find_source, is_file

PARTS = st.one_of(
    st.sampled_from(
        ["", ".", "..", "a", "A", "a.jpg", PARTIAL, "x" * 255 + ".jpg", "\u202e" * 300, "\n", "~", "C:\\x"]
    ),
    st.text(st.characters(blacklist_characters="/\0", codec="utf-8"), max_size=5),
)
PATHS = st.lists(PARTS, min_size=1, max_size=30).map("/".join)
SOURCES = st.one_of(
    PATHS.map(lambda path: Source(f"/{path}")),
    PATHS.map(lambda path: Source(f"gs://bucket/{path}")),
    st.tuples(PATHS, PATHS).map(lambda two: Source(f"/{two[0]}.tar", two[1])),
)


@settings(max_examples=25)
@given(st.sets(SOURCES, max_size=8))
def test_names_of_copies_stay_inside_and_differ(sources: set[Source]) -> None:
    named = name_copies(sorted(sources, key=str), ())

    assert set(named.values()) == sources
    for name in named:
        parts = name.split("/")
        assert not {"", ".", "..", PARTIAL} & set(parts)
        assert os.path.normpath(f"/to/{name}") == f"/to/{name}"
        assert len(name.encode()) <= 1024
        assert all(len(part.encode()) <= 255 for part in parts)


def test_a_name_is_the_same_whatever_else_is_copied() -> None:
    sources = [Source("/a/x.zip", name) for name in ("../b.jpg", "c.jpg", "y" * 300)]

    together = name_copies(sources, ("a",))

    assert {name for source in sources for name in name_copies([source], ("a",))} == set(together)
    assert "x.zip/c.jpg" in together


def test_a_name_that_was_made_to_collide_takes_nothing_away() -> None:
    [made] = name_copies([Source("/a.zip", "..")], ())
    crafted = Source(f"/{made}")

    assert len(name_copies([Source("/a.zip", ".."), crafted], ())) == 2


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["/a/b/c.jpg", "/a/b/d/e.jpg"], ("a", "b")),
        (["/a/b/c.jpg"], ("a", "b")),
        (["/a/b/c.jpg", "/a/bc/c.jpg"], ("a",)),
        (["/a/b.jpg", "gs://a/b.jpg"], ()),
        (["gs://a/b/1.jpg", "gs://a/c/1.jpg"], ("gs", "a")),
        (["/a/x.tar::b/1.jpg", "/a/x.tar::b/2.jpg"], ("a", "x.tar", "b")),
        (["/./a/x.tar::1.jpg", "/Z/2.jpg", "/a/3.jpg"], ()),
        (["/a/x.tif#xywh=0,0,8,8", "/a/x.tif#xywh=8,0,8,8"], ("a",)),
    ],
)
def test_copies_begin_at_the_deepest_folder_of_all_images(paths: list[str], folder: tuple[str, ...]) -> None:
    assert common_folder(min(paths), max(paths)) == folder


@pytest.mark.parametrize(
    ("path", "source", "file"),
    [
        ("/a/b.jpg", Source("/a/b.jpg"), True),
        ("/a/x.tar::b.jpg", Source("/a/x.tar", "b.jpg"), False),
        ("/./a/x.tar::b.jpg", Source("/a/x.tar::b.jpg"), True),
        ("gs://./a/x.tar::b.jpg", Source("gs://a/x.tar::b.jpg"), True),
        ("/a/b::c.jpg", Source("/a/b::c.jpg"), True),
        ("/a/b.tif#xywh=0,0,8,8", Source("/a/b.tif"), False),
    ],
)
def test_what_holds_the_pixels_is_told_from_the_path(path: str, source: Source, file: bool) -> None:
    assert find_source(path) == source
    assert is_file(path) == file


def test_a_file_named_like_a_member_is_opened_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.tar::b.jpg").write_bytes(b"pixels")

    assert Path(find_source(f"/.{tmp_path}/x.tar::b.jpg").path).read_bytes() == b"pixels"

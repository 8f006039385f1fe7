"""Pieces that workers list: together they hold what one listing holds, each name once, in the same order."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import archives, storage
from pipelines.archives.packed import SeenPaths
from pipelines.listing import EMPTY_INPUTS, EmptyInputError, InputError, dividing, list_images
from pipelines.listing.inputs import Inputs, spread
from pipelines.listing.lists.contents import Pack
from pipelines.listing.pieces import Piece, check_found, divide, list_piece, open_listed
from pipelines.records import Failure, Listed
from pipelines.storage import stores
from pipelines.storage.buckets import BucketStore
from tests.pipelines.listing.test_folders import PATTERNS, TREES, Simulated, plant


def pieces_of(inputs: Sequence[str], input_list: str | None = None) -> list[Piece]:
    """Divide inputs, and send the pieces to another process and back."""
    pieces = list(divide(Inputs(spread(inputs), input_list)))
    assert sorted(pieces, key=lambda piece: piece[:2]) == pieces
    return [pickle.loads(pickle.dumps(piece)) for piece in pieces]


def list_in_pieces(pieces: Sequence[Piece], passed_over: Counter[str] | None = None) -> list[Listed]:
    """List pieces from the last to the first, and put what they hold into order."""
    listed = [
        [item for file in list_piece(piece, passed_over) for item in open_listed(file, passed_over)]
        for piece in reversed(pieces)
    ]
    seen = SeenPaths()
    return [item for items in reversed(listed) for item in items if seen.add(item.path)]


@given(tree=TREES, patterns=st.lists(PATTERNS, min_size=1, max_size=3))
@settings(max_examples=15)
def test_what_inputs_name_in_a_bucket_is_the_same_in_pieces(tree: list[str], patterns: list[str]) -> None:
    objects = BucketStore(Simulated([f"x/{name}" for name in tree]))  # type: ignore[arg-type]
    inputs = [f"gs://bucket/x/{pattern}" for pattern in patterns]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "bucket_store", lambda path: objects)
        for name, value in {"SMALL": 1, "_UNEVEN": 1, "_GLIMPSE": 2, "_NOT_WORTH_A_LOOK": 2}.items():
            patch.setattr(dividing, name, value)
        passed_over, here = Counter[str](), Counter[str]()
        listing = list(list_images(inputs, None, here, allow_empty=True))

        pieces = pieces_of(inputs)
        assert list_in_pieces(pieces, passed_over) == listing
        found = {piece.source for piece in pieces if list_in_pieces([piece])}
        empty = check_found(Inputs(spread(inputs), allow_empty=True), found)
        assert passed_over + Counter({EMPTY_INPUTS: empty}) == here


def test_names_of_a_list_come_in_packs_and_members_of_an_archive_together(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(4_000)] + [f"x.tar::{number}.jpg" for number in range(1_000)]
    (tmp_path / "list.txt").write_text("\n".join([*names, "a.jpg"]))

    packs = [piece.part.names for piece in pieces_of([], f"{tmp_path}/list.txt") if isinstance(piece.part, Pack)]

    assert [len(list(pack)) for pack in packs] == [5_000, 1]
    assert [name for pack in packs for name in pack] == [*names, "a.jpg"]


def test_a_folder_of_tables_is_a_piece_per_file(tmp_path: Path) -> None:
    plant(tmp_path, "a.jpg")
    for name in ("1", "2"):
        (tmp_path / "list").mkdir(exist_ok=True)
        table = pa.table({"path": [f"{tmp_path}/a.jpg", f"{name}.jpg", None]})
        pyarrow.parquet.write_table(table, tmp_path / f"list/{name}.parquet")

    pieces = pieces_of([], f"{tmp_path}/list")

    assert [type(piece.part).__name__ for piece in pieces] == ["Table", "Table"]
    assert list_in_pieces(pieces) == list(list_images([], f"{tmp_path}/list"))


def test_an_archive_that_cannot_be_read_is_a_failure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise storage.TransientError(5, "Service Unavailable")

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    [piece] = pieces_of([f"{tmp_path}/x.zip"])
    [listed] = list_piece(piece)
    monkeypatch.setattr(archives, "list_members", refuse)

    [failure] = open_listed(listed)

    assert isinstance(failure, Failure)
    assert (failure.path, failure.error) == (f"{tmp_path}/x.zip", "UnlistedFolderError")


def test_sources_without_images_are_told_or_an_error(tmp_path: Path) -> None:
    inputs = [f"{tmp_path}/a", f"{tmp_path}/b"]
    told: list[str] = []

    assert check_found(Inputs(inputs, "list.txt", allow_empty=False), {2}, told.append) == 2
    assert [line.partition(" (")[0] for line in told] == ["list.txt lists no images", f"no images in {tmp_path}/a"]
    with pytest.raises(EmptyInputError, match="--allow_empty"):
        check_found(Inputs(inputs, allow_empty=False), set())
    assert check_found(Inputs(inputs, allow_empty=True), set()) == 2
    with pytest.raises(InputError, match=r"no member of x\.tar matches a\.jpg"):
        check_found(Inputs(["x.tar::a.jpg"], allow_empty=True), set())


def test_folders_files_archives_and_lists_in_pieces_are_the_same_listing(tmp_path: Path) -> None:
    plant(tmp_path, "f/a.jpg", "f/b/c.jpg", "f/notes.txt", "g/a.jpg", "{x}.jpg")
    (tmp_path / "a.jpg").write_bytes(b"1")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("m/a.jpg", b"")
        archive.writestr("b.txt", b"")
    with tarfile.open(tmp_path / "g/x.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "a.jpg")
        tar.add(tmp_path / "a.jpg", "a.jpg")
    names = ["f/a.jpg", "", "x.zip", "g/x.tar::a.jpg", "missing.jpg", "f/a.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    inputs = [f"{tmp_path}/{name}" for name in ("{f,g}", "f/**", "x.zip::b.*", "*.zip", "f/*.jpg", "{x}.jpg")]
    passed_over, here = Counter[str](), Counter[str]()
    listing = list(list_images(inputs, f"{tmp_path}/list.txt", here))

    pieces = pieces_of(inputs, f"{tmp_path}/list.txt")

    assert len(listing) == 9
    assert list_in_pieces(pieces, passed_over) == listing
    assert passed_over.keys() <= here.keys()

"""Pieces that workers list: together they hold what one listing holds, each name once, in the same order."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipelines.archives.packed import SeenPaths
from pipelines.listing import list_images
from pipelines.listing.inputs import spread
from pipelines.listing.pieces import Piece, divide, list_piece, open_listed
from pipelines.records import Listed
from tests.pipelines.listing.test_folders import plant


def pieces_of(inputs: Sequence[str], input_list: str | None = None) -> list[Piece]:
    """Divide inputs, and send the pieces to another process and back."""
    pieces = list(divide(spread(inputs), input_list))
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

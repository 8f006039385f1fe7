"""Archives of chips, and what is listed and read of them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.listing import list_images
from pipelines.reading.source import ImageSource
from pipelines.records import Failure, ImageRef
from tests.image_files import picture, unmarked_rgba_jpeg

KINDS = ("tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip")
CHIPS: Mapping[str, bytes] = {
    name: unmarked_rgba_jpeg(picture(seed=seed))
    for seed, name in enumerate(
        ("a.jpg", "with space/b.jpg", "森/ä🛰.jpg", "../up.jpg", "/etc/absolute.jpg", "a::b.jpg", "[x]*?.jpg", "C.JPG")
    )
}
OTHERS = {"notes.txt": b"text", ".hidden.jpg": b"", "__MACOSX/._a.jpg": b"", "README": b""}


def pack(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive of the kind that its name's ending says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.mkdir("folder.jpg")
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data, compression)
        return path
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def listed(*inputs: str | Path) -> list[ImageRef | Failure]:
    return list(list_images([str(name) for name in inputs]))


def source(max_bytes: int = 10**6) -> ImageSource:
    return ImageSource(DecodeSettings(32, "bilinear"), Limits(max_bytes=max_bytes), threads=2)


def read(ref: ImageRef | Failure) -> bytes:
    assert isinstance(ref, ImageRef), ref
    assert ref.place
    with closing(source()) as opened:
        return opened.fetch_bytes(ref, lambda head, size: None)

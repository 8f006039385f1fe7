"""The partitions in which a distributed run compares its images with their earlier rows, so that no process holds all.

A partition holds what has the same remainder of a digest: about as many images as any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from pipelines import storage
from pipelines.output.earlier import EarlierPart, digest_fingerprint, read_images
from pipelines.records import digest_path
from pipelines.scenes.grid import split_window

PARTITIONS = 1024
"""Of a billion images, one has a million, which take 200 MB."""


def partition_of(path: str) -> int:
    """Return the partition of an image or another name: of a window, that of its scene.

    Only where all windows of a scene meet can those be found that it has no more.
    """
    window = split_window(path)
    return _partition(digest_path(window[0] if window else path))


def read_parts(folder: str, file: str) -> Iterator[tuple[int, EarlierPart]]:
    """Read the rows of one file, and yield them by partition.

    Args:
      folder: of the tables.
      file: relative to it.

    Raises:
      OutputError: the file is damaged.
    """
    rows: dict[int, bytearray] = defaultdict(bytearray)
    scenes: dict[int, set[bytes]] = defaultdict(set)
    for path, fingerprint in read_images(storage.join(folder, file)):
        key, digest = digest_path(path), digest_fingerprint(fingerprint)
        window = split_window(path)
        home = digest_path(window[0]) if window else key
        partition = _partition(home)
        rows[partition] += key + digest
        if window:
            scenes[partition].add(home + digest)
    for partition, those in rows.items():
        yield partition, EarlierPart(file, bytes(those), b"".join(sorted(scenes[partition])))


def _partition(digest: bytes) -> int:
    return int.from_bytes(digest[:4]) % PARTITIONS

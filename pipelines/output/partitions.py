"""The partitions in which a distributed run compares its images with their earlier rows, so that no process holds all.

A partition holds what has the same remainder of a digest: about as many images as any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from pipelines import storage
from pipelines.output.earlier import EarlierPart
from pipelines.output.identities import digest_fingerprint, read_rows
from pipelines.scenes.grid import split_window

PARTITIONS = 1024
"""Of a billion images, one has a million, which take 200 MB."""


def partition_of(path: str) -> int:
    """Return the partition of an image or another name: of a window, that of its scene.

    Only where all windows of a scene meet can those be found that it has no more.
    """
    window = split_window(path)
    return _partition(storage.digest_path(window[0] if window else path))


def read_parts(folder: str, file: str, run: str) -> Iterator[tuple[int, EarlierPart]]:
    """Read the rows of one file, and yield them by partition, those of a run apart.

    Args:
      folder: of the tables.
      file: relative to it.
      run: name of the current run, which may have committed earlier waves.

    Raises:
      OutputError: the file is damaged.
    """
    rows: dict[tuple[int, bool], bytearray] = defaultdict(bytearray)
    scenes: dict[tuple[int, bool], set[bytes]] = defaultdict(set)
    for path, fingerprint, made_by in read_rows(storage.join(folder, file)):
        key, digest = storage.digest_path(path), digest_fingerprint(fingerprint)
        window = split_window(path)
        home = storage.digest_path(window[0]) if window else key
        part = _partition(home), made_by == run
        rows[part] += key + digest
        if window:
            scenes[part].add(home + digest)
    for part, those in rows.items():
        partition, own = part
        yield partition, EarlierPart(file, bytes(those), b"".join(sorted(scenes[part])), own)


def _partition(digest: bytes) -> int:
    return int.from_bytes(digest[:4]) % PARTITIONS

"""The rows of earlier runs, in little memory."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import storage
from pipelines.output.identities import (
    FINGERPRINT_BYTES,
    PATH_BYTES,
    Unlisted,
    digest_fingerprint,
    earlier_files,
    read_images,
)
from pipelines.output.run import EMPTY, PREDICTIONS
from pipelines.output.tables import OutputError, read_each
from pipelines.scenes.grid import split_window
from pipelines.supervision import interruption

_PATH, _FILE = PATH_BYTES, 4
_FILE_AT = PATH_BYTES + FINGERPRINT_BYTES
_ROW = _FILE_AT + _FILE
_LISTED = 0x80
"""Marks, in the highest byte of the file's number, a row whose image has been listed again."""

_reading = threading.Lock()


class EarlierRow(NamedTuple):
    """The row of an image from an earlier run.

    Attributes:
      file: file with the row, relative to the folder of the tables.
      tagged: whether the row needs no other one: a prediction, or empty, and of the image in its current state.
      own: whether it is of an earlier wave of the same run.
    """

    file: str
    tagged: bool
    own: bool = False


class EarlierPart(NamedTuple):
    """Rows of one file, as far as they are in one partition: see `partitions`.

    Attributes:
      file: relative to the folder of the tables.
      rows: digests of path (16 bytes) and fingerprint (8 bytes) of each.
      scenes: digests of path and fingerprint of the scenes whose windows they are of, each scene once.
      own: whether they are of an earlier wave of the same run.
    """

    file: str
    rows: bytes
    scenes: bytes = b""
    own: bool = False


class EarlierRows:
    """The rows of all images, or those of one partition, that earlier runs have tagged or failed to tag.

    A row takes 28 bytes, and up to 32 while reading: the digests of its path (16) and fingerprint (8), followed by the
    number of its file (4). All rows form one sorted array, in which a lookup takes 3 to 7 µs.

    An output with two paths of one digest is refused, like one with two rows for one image. Fingerprints are compared
    only for the same path, so 64 bits suffice: the probability that any of a billion changed images is considered
    unchanged is 5e-11.
    """

    def __init__(
        self, folder: str, files: Sequence[str], rows: bytearray, scenes: _Scenes, own: Collection[int] = ()
    ) -> None:
        """Sort the rows.

        Args:
          folder: of the tables.
          files: relative to it.
          rows: of 28 bytes each; `files` has their numbers.
          scenes: whose windows are among them.
          own: numbers of the files whose rows are of an earlier wave of the same run.

        Raises:
          OutputError: an image has two rows.
        """
        self._folder = folder
        self._files = files
        self._rows = rows
        self._scenes = scenes
        self._own = own
        self._sorted = np.frombuffer(self._rows, f"S{_ROW}")
        self._sorted.sort()
        self._refuse_doubles()

    @classmethod
    def read(cls, folder: str, run: str) -> EarlierRows:
        """Read the rows.

        Args:
          folder: of the tables.
          run: name of the current run, whose own rows are ignored.

        Raises:
          OutputError: an image has two rows, or a file is damaged.
          InterruptedRunError: the run was asked to stop.
        """
        files = earlier_files(folder, run)
        rows, scenes = bytearray(), _Scenes()
        for some, theirs in read_each(folder, partial(_read, folder, files), range(len(files))):
            interruption.check()
            rows += some
            scenes.update(theirs)
        return cls(folder, files, rows, scenes)

    @classmethod
    def of_parts(cls, folder: str, parts: Sequence[EarlierPart]) -> EarlierRows:
        """Join what was read of several files.

        Raises:
          OutputError: an image has two rows.
        """
        rows, scenes = bytearray(), _Scenes()
        for number, part in enumerate(parts):
            fields = np.empty((len(part.rows) // _FILE_AT, _ROW), np.uint8)
            fields[:, :_FILE_AT] = np.frombuffer(part.rows, np.uint8).reshape(-1, _FILE_AT)
            # Rows of the same run are of images that it has listed.
            marked = number | part.own * _LISTED << 24
            fields[:, _FILE_AT:] = np.frombuffer(marked.to_bytes(_FILE), np.uint8)
            rows += fields.tobytes()
            scenes.add_all(part.scenes, number)
        own = {number for number, part in enumerate(parts) if part.own}
        return cls(folder, [part.file for part in parts], rows, scenes, own)

    def __len__(self) -> int:
        return len(self._sorted)

    def find(self, path: str, fingerprint: str) -> EarlierRow | None:
        """Find the row of an image.

        Args:
          path: of the image.
          fingerprint: its current one.

        Returns:
          None if it has no row.
        """
        if not self._rows:
            return None
        key = storage.digest_path(path)
        row = self._row(int(self._sorted.searchsorted(key)))
        if not row.startswith(key):
            return None
        number = self._number(row)
        file = self._files[number]
        same = row[_PATH:_FILE_AT] == digest_fingerprint(fingerprint)
        return EarlierRow(file, same and file.startswith((PREDICTIONS, EMPTY)), number in self._own)

    def windows_of_others(self, scene: str, fingerprint: str) -> Iterator[tuple[str, str]]:
        """Yield path and file of each window of a scene whose row is of another version of it.

        Args:
          scene: path of the scene.
          fingerprint: its current one.
        """
        for number in self._scenes.files_of_others(scene, fingerprint):
            file = self._files[number]
            for path, theirs in read_images(storage.join(self._folder, file), scene):
                if theirs != fingerprint and path.startswith(scene):
                    window = split_window(path)
                    if window and window[0] == scene:
                        yield path, file

    def mark_listed(self, digests: bytes) -> None:
        """Mark the rows of images that have been listed again.

        Args:
          digests: of their paths, joined.
        """
        if not self._rows:
            return
        fields = self._fields()
        keys = np.frombuffer(digests, f"S{_PATH}")
        found = np.minimum(self._sorted.searchsorted(keys.astype(self._sorted.dtype)), len(self) - 1)
        same = (fields[found, :_PATH] == np.frombuffer(digests, np.uint8).reshape(-1, _PATH)).all(axis=1)
        fields[found[same], _FILE_AT] |= _LISTED

    def unlisted(self) -> Iterator[Unlisted]:
        """Yield the rows that were not marked, file by file.

        Those of an earlier wave of the same run are of images that it has listed, even if these are gone by now.
        """
        fields = self._fields()
        rows = np.flatnonzero(fields[:, _FILE_AT] < _LISTED)
        numbers = fields[rows, _FILE_AT:].view(">u4").ravel()
        files, counts = np.unique(numbers, return_counts=True)
        # By file, rather than a look at all rows for each of thousands of files.
        rows = rows[np.argsort(numbers, kind="stable")]
        for number, of_file in zip(files.tolist(), np.split(rows, np.cumsum(counts))[:-1], strict=True):
            if number not in self._own:
                yield Unlisted(self._files[number], fields[of_file, :_PATH].tobytes())

    def _fields(self) -> NDArray[np.uint8]:
        """View the rows as bytes: uint8[rows, 28]."""
        return np.frombuffer(self._rows, np.uint8).reshape(-1, _ROW)

    def _refuse_doubles(self) -> None:
        keys = self._sorted.view([("path", f"S{_PATH}"), ("rest", f"S{_ROW - _PATH}")])["path"]
        for index in np.flatnonzero(keys[1:] == keys[:-1]).tolist():
            first, second = self._row(index), self._row(index + 1)
            file, other = sorted(self._files[self._number(row)] for row in (first, second))
            images = read_images(storage.join(self._folder, file))
            image = next(path for path, _ in images if first.startswith(storage.digest_path(path)))
            raise OutputError(
                f"output {self._folder} holds two rows for {image}, in {file} and {other}",
                "delete one of these files; its images are then tagged again",
            )

    def _row(self, index: int) -> bytes:
        # Not from the array: NumPy strips zeros at the end of byte strings.
        return bytes(self._rows[index * _ROW : (index + 1) * _ROW])

    def _number(self, row: bytes) -> int:
        """Return the number of the file of a row."""
        return int.from_bytes(row[_FILE_AT:]) & ~(_LISTED << 24)


class _Scenes:
    """Which versions of which scenes have rows of windows, and in which files: little compared with the rows."""

    def __init__(self) -> None:
        self._found: dict[bytes, set[tuple[bytes, int]]] = {}
        self._last = ("", b"")

    def add(self, path: str, fingerprint: bytes, file: int) -> None:
        """Note a row: the path of its image, the digest of the fingerprint, and the number of its file."""
        window = split_window(path)
        if window:
            if window[0] != self._last[0]:
                self._last = window[0], storage.digest_path(window[0])
            self._found.setdefault(self._last[1], set()).add((fingerprint, file))

    def add_all(self, scenes: bytes, file: int) -> None:
        """Note rows of a file, of which `EarlierPart.scenes` says whose windows they are."""
        for start in range(0, len(scenes), _FILE_AT):
            scene, fingerprint = scenes[start : start + _PATH], scenes[start + _PATH : start + _FILE_AT]
            self._found.setdefault(scene, set()).add((fingerprint, file))

    def update(self, others: _Scenes) -> None:
        """Add all that others have noted."""
        for scene, found in others._found.items():
            self._found.setdefault(scene, set()).update(found)

    def files_of_others(self, scene: str, fingerprint: str) -> list[int]:
        """Return numbers of files with windows of a scene in other versions."""
        if not self._found:
            return []
        ours = digest_fingerprint(fingerprint)
        return sorted({file for theirs, file in self._found.get(storage.digest_path(scene), ()) if theirs != ours})


def read_earlier(folder: str, run: str) -> EarlierRows:
    """Read the rows of runs before `run`, once per process, since they do not change; see `EarlierRows`."""
    # All threads of a worker get here at once, and each would read the rows again.
    with _reading:
        return _read_once(folder, run)


_read_once = lru_cache(maxsize=1)(EarlierRows.read)


def _read(folder: str, files: Sequence[str], number: int) -> tuple[bytearray, _Scenes]:
    rows, scenes = bytearray(), _Scenes()
    for path, fingerprint in read_images(storage.join(folder, files[number])):
        digest = digest_fingerprint(fingerprint)
        rows += storage.digest_path(path) + digest + number.to_bytes(_FILE)
        scenes.add(path, digest, number)
    return rows, scenes

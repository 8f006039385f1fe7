"""The rows of earlier runs, in little memory."""

from __future__ import annotations

import hashlib
import posixpath
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import storage
from pipelines.output.run import EMPTY, PREDICTIONS
from pipelines.output.tables import OutputError, open_table, read_each, table_files
from pipelines.records import digest_path
from pipelines.scenes.grid import split_window
from pipelines.supervision import interruption

_ROWS_AT_ONCE = 1024
"""Rows whose paths exist as Python strings at a time."""

_PATH, _FINGERPRINT, _FILE = 16, 8, 4
_ROW = _PATH + _FINGERPRINT + _FILE
_FILE_AT = _PATH + _FINGERPRINT
_LISTED = 0x80
"""Marks, in the highest byte of the file's number, a row whose image has been listed again."""

_reading = threading.Lock()


class EarlierRow(NamedTuple):
    """The row of an image from an earlier run.

    Attributes:
      file: file with the row, relative to the folder of the tables.
      tagged: whether the row needs no other one: a prediction, or empty, and of the image in its current state.
    """

    file: str
    tagged: bool


class EarlierRows:
    """The rows of all images that earlier runs have tagged or failed to tag.

    A row takes 28 bytes, and up to 32 while reading: the digests of its path (16) and fingerprint (8), followed by the
    number of its file (4). All rows form one sorted array, in which a lookup takes 3 to 7 µs.

    An output with two paths of one digest is refused, like one with two rows for one image. Fingerprints are compared
    only for the same path, so 64 bits suffice: the probability that any of a billion changed images is considered
    unchanged is 5e-11.
    """

    def __init__(self, folder: str, run: str) -> None:
        """Read the rows.

        Args:
          folder: of the tables.
          run: name of the current run, whose own rows are ignored.

        Raises:
          OutputError: an image has two rows, or a file is damaged.
          InterruptedRunError: the run was asked to stop.
        """
        self._folder = folder
        paths = [path for path in table_files(folder) if not posixpath.basename(path).startswith(run)]
        self._files = [path.removeprefix(f"{folder}/") for path in paths]
        self._rows = bytearray()
        self._scenes = _Scenes()
        for rows, scenes in read_each(folder, self._read, range(len(self._files))):
            interruption.check()
            self._rows += rows
            self._scenes.update(scenes)
        self._sorted = np.frombuffer(self._rows, f"S{_ROW}")
        self._sorted.sort()
        self._refuse_doubles()

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
        key = digest_path(path)
        row = self._row(int(self._sorted.searchsorted(key)))
        if not row.startswith(key):
            return None
        file = self._file(row)
        same = row[_PATH:_FILE_AT] == _digest_fingerprint(fingerprint)
        return EarlierRow(file, same and file.startswith((PREDICTIONS, EMPTY)))

    def windows_of_others(self, scene: str, fingerprint: str) -> Iterator[tuple[str, str]]:
        """Yield path and file of each window of a scene whose row is of another version of it.

        Args:
          scene: path of the scene.
          fingerprint: its current one.
        """
        for number in self._scenes.files_of_others(scene, fingerprint):
            file = self._files[number]
            for path, theirs in read_images(storage.join(self._folder, file)):
                window = split_window(path)
                if window and window[0] == scene and theirs != fingerprint:
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

    def is_listed(self, path: str) -> bool:
        """Return whether an image has no row, or one that was marked."""
        key = digest_path(path)
        row = self._row(int(self._sorted.searchsorted(key))) if self._rows else b""
        return not row.startswith(key) or bool(row[_FILE_AT] & _LISTED)

    def files_with_unlisted(self) -> list[str]:
        """Name the files with rows that were not marked, relative to the folder of the tables."""
        fields = self._fields()
        numbers: set[int] = set()
        for start in range(0, len(fields), _ROWS_AT_ONCE):
            some = fields[start : start + _ROWS_AT_ONCE, _FILE_AT:]
            numbers.update(some[some[:, 0] < _LISTED].copy().view(">u4").ravel().tolist())
        return [self._files[number] for number in sorted(numbers)]

    def _fields(self) -> NDArray[np.uint8]:
        """View the rows as bytes: uint8[rows, 28]."""
        return np.frombuffer(self._rows, np.uint8).reshape(-1, _ROW)

    def _read(self, number: int) -> tuple[bytearray, _Scenes]:
        rows, scenes = bytearray(), _Scenes()
        for path, fingerprint in read_images(storage.join(self._folder, self._files[number])):
            digest = _digest_fingerprint(fingerprint)
            rows += digest_path(path) + digest + number.to_bytes(_FILE)
            scenes.add(path, digest, number)
        return rows, scenes

    def _refuse_doubles(self) -> None:
        keys = self._sorted.view([("path", f"S{_PATH}"), ("rest", f"S{_ROW - _PATH}")])["path"]
        for index in np.flatnonzero(keys[1:] == keys[:-1]).tolist():
            first, second = self._row(index), self._row(index + 1)
            file, other = sorted((self._file(first), self._file(second)))
            images = read_images(storage.join(self._folder, file))
            image = next(path for path, _ in images if first.startswith(digest_path(path)))
            raise OutputError(
                f"output {self._folder} holds two rows for {image}, in {file} and {other}",
                "delete one of these files; its images are then tagged again",
            )

    def _row(self, index: int) -> bytes:
        # Not from the array: NumPy strips zeros at the end of byte strings.
        return bytes(self._rows[index * _ROW : (index + 1) * _ROW])

    def _file(self, row: bytes) -> str:
        return self._files[int.from_bytes(row[_FILE_AT:]) & ~(_LISTED << 24)]


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
                self._last = window[0], digest_path(window[0])
            self._found.setdefault(self._last[1], set()).add((fingerprint, file))

    def update(self, others: _Scenes) -> None:
        """Add all that others have noted."""
        for scene, found in others._found.items():
            self._found.setdefault(scene, set()).update(found)

    def files_of_others(self, scene: str, fingerprint: str) -> list[int]:
        """Return numbers of files with windows of a scene in other versions."""
        if not self._found:
            return []
        ours = _digest_fingerprint(fingerprint)
        return sorted({file for theirs, file in self._found.get(digest_path(scene), ()) if theirs != ours})


def read_earlier(folder: str, run: str) -> EarlierRows:
    """Read the rows of runs before `run`, once per process, since they do not change; see `EarlierRows`."""
    # All threads of a worker get here at once, and each would read the rows again.
    with _reading:
        return _read_once(folder, run)


_read_once = lru_cache(maxsize=1)(EarlierRows)


def read_images(path: str) -> Iterator[tuple[str, str]]:
    """Yield path and fingerprint of each row of a file."""
    with open_table(path) as parquet:
        # For two narrow columns, Arrow's threads would cost more memory than the time they save.
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=["path", "fingerprint"], use_threads=False):
            paths, fingerprints = batch.column("path"), batch.column("fingerprint")
            if paths.null_count or fingerprints.null_count:
                raise OutputError(
                    f"{path} holds a row without a path or without a fingerprint",
                    "move it away, and `scenetags predict` tags its images again",
                )
            yield from zip(paths.to_pylist(), fingerprints.to_pylist(), strict=True)


def _digest_fingerprint(fingerprint: str) -> bytes:
    return hashlib.blake2b(fingerprint.encode(), digest_size=_FINGERPRINT).digest()

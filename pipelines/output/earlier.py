"""The rows of earlier runs, in little memory."""

from __future__ import annotations

import hashlib
import posixpath
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
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


class Unlisted(NamedTuple):
    """Rows of one file whose images were not listed again.

    Attributes:
      file: relative to the folder of the tables.
      digests: of the paths of the images, joined; see `records.digest_path`.
    """

    file: str
    digests: bytes

    def keep_others(self, table: pa.Table) -> pa.Table:
        """Return the rows of the file without those."""
        digests = np.frombuffer(b"".join(map(digest_path, table["path"].to_pylist())), f"S{_PATH}")
        return table.filter(pa.array(~np.isin(digests, np.frombuffer(self.digests, f"S{_PATH}"))))


class EarlierPart(NamedTuple):
    """Rows of one file, as far as they are in one partition: see `partitions`.

    Attributes:
      file: relative to the folder of the tables.
      rows: digests of path (16 bytes) and fingerprint (8 bytes) of each.
      scenes: digests of path and fingerprint of the scenes whose windows they are of, each scene once.
    """

    file: str
    rows: bytes
    scenes: bytes = b""


class EarlierRows:
    """The rows of all images, or those of one partition, that earlier runs have tagged or failed to tag.

    A row takes 28 bytes, and up to 32 while reading: the digests of its path (16) and fingerprint (8), followed by the
    number of its file (4). All rows form one sorted array, in which a lookup takes 3 to 7 µs.

    An output with two paths of one digest is refused, like one with two rows for one image. Fingerprints are compared
    only for the same path, so 64 bits suffice: the probability that any of a billion changed images is considered
    unchanged is 5e-11.
    """

    def __init__(self, folder: str, files: Sequence[str], rows: bytearray, scenes: _Scenes) -> None:
        """Sort the rows.

        Args:
          folder: of the tables.
          files: relative to it.
          rows: of 28 bytes each; `files` has their numbers.
          scenes: whose windows are among them.

        Raises:
          OutputError: an image has two rows.
        """
        self._folder = folder
        self._files = files
        self._rows = rows
        self._scenes = scenes
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
            fields[:, _FILE_AT:] = np.frombuffer(number.to_bytes(_FILE), np.uint8)
            rows += fields.tobytes()
            scenes.add_all(part.scenes, number)
        return cls(folder, [part.file for part in parts], rows, scenes)

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
        same = row[_PATH:_FILE_AT] == digest_fingerprint(fingerprint)
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

    def unlisted(self) -> Iterator[Unlisted]:
        """Yield the rows that were not marked, file by file."""
        fields = self._fields()
        kept = fields[fields[:, _FILE_AT] < _LISTED]
        numbers = kept[:, _FILE_AT:].copy().view(">u4").ravel()
        for number in np.unique(numbers).tolist():
            yield Unlisted(self._files[number], kept[numbers == number, :_PATH].tobytes())

    def _fields(self) -> NDArray[np.uint8]:
        """View the rows as bytes: uint8[rows, 28]."""
        return np.frombuffer(self._rows, np.uint8).reshape(-1, _ROW)

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
        return sorted({file for theirs, file in self._found.get(digest_path(scene), ()) if theirs != ours})


def earlier_files(folder: str, run: str) -> list[str]:
    """List the files with rows of runs before `run`, relative to the folder of the tables."""
    paths = [path for path in table_files(folder) if not posixpath.basename(path).startswith(run)]
    return [path.removeprefix(f"{folder}/") for path in paths]


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
        rows += digest_path(path) + digest + number.to_bytes(_FILE)
        scenes.add(path, digest, number)
    return rows, scenes


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


def digest_fingerprint(fingerprint: str) -> bytes:
    """Return 8 bytes that stand for the fingerprint of an image; see `EarlierRows`."""
    return hashlib.blake2b(fingerprint.encode(), digest_size=_FINGERPRINT).digest()

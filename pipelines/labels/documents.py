"""The files that hold labels: found, fetched, unpacked and parsed."""

from __future__ import annotations

import io
import json
import os
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from pipelines import storage
from pipelines.errors import quantity
from pipelines.labels import tables
from pipelines.labels.findings import LabelError, shown, some_names
from pipelines.labels.tables import Table
from pipelines.storage.strict_json import RepeatedNameError, without_repeats

_PARQUET = (".parquet", ".pq")
_JSON = (".json", ".jsonl", ".ndjson")
_ENDINGS = (".csv", ".tsv", ".txt", *_JSON, *_PARQUET, ".xml")
_SIDECAR = ".aux.xml"
_PACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_MOST_BYTES = 1 << 30
"""Of a label file, unpacked: COCO's largest has half of that."""


@dataclass(frozen=True)
class Document:
    """A label file.

    Attributes:
      path: of the file, as messages name it.
      name: of the file, unpacked.
      data: its content, unpacked.
    """

    path: str
    name: str
    data: bytes

    @cached_property
    def text(self) -> str:
        """Its text; a LabelError if it has none."""
        try:
            text = self.data.decode("utf-8-sig")
            # UTF-16 without a byte order mark, like many binary files, is valid UTF-8.
            if "\0" not in text:
                return text
        except UnicodeDecodeError:
            pass
        raise LabelError("not UTF-8 text", "save it as CSV in UTF-8")

    @property
    def is_json(self) -> bool:
        """Whether it is called like JSON, or lines of it."""
        return self.name.lower().endswith(_JSON)

    @cached_property
    def json(self) -> object:
        """The value of a whole JSON file; None if it is none, or holds lines of JSON."""
        if not self.is_json:
            return None
        try:
            return json.loads(self.text, object_pairs_hook=without_repeats)
        except RepeatedNameError as error:
            raise LabelError(str(error), "give each name once per object") from error
        except (ValueError, RecursionError) as error:
            if len(self.text.splitlines()) > 1 and self.text.lstrip().startswith("{"):
                return None
            raise LabelError(f"not JSON: {shown(str(error))}", "export it again") from error

    @property
    def holds_names_alone(self) -> bool:
        """Whether it is a text whose first line is a single word, as in a list of images."""
        if not self.name.lower().endswith(".txt") or tables.parse_attributes(self.text):
            return False
        return len(re.split(r"[\s,;]+", self.text.strip().split("\n", 1)[0].strip())) == 1

    @cached_property
    def table(self) -> Table:
        """Its lines and columns; a LabelError if it has none."""
        if self.name.lower().endswith(_PARQUET) and self.data.startswith(b"PAR1"):
            return tables.from_parquet(self.data)
        if not self.is_json:
            attributes = tables.parse_attributes(self.text)
            return attributes or tables.parse_text(self.text)
        if self.json is None:
            return tables.parse_lines(self.text)
        return tables.from_records([(f"object {number}", one) for number, one in enumerate(_records(self.json), 1)])


def _records(content: object) -> list[object]:
    """Find the objects in a JSON value, one for each image: those of a list, of the only list, or by name."""
    if isinstance(content, list) or not isinstance(content, Mapping) or not content:
        return content if isinstance(content, list) else [content]
    if all(isinstance(value, Mapping) for value in content.values()):
        return [{**value, "image_name": name} for name, value in content.items()]
    lists = [value for value in content.values() if isinstance(value, list) and value and isinstance(value[0], Mapping)]
    return lists[0] if len(lists) == 1 else [content]


def find_documents(paths: Sequence[str]) -> list[Document]:
    """Read label files, and those directly in folders, local or in buckets.

    Raises:
      LabelError: a file cannot be read or unpacked, or a folder has none.
    """
    found = [path for given in paths for path in _find_files(given)]
    documents = []
    for path in found:
        with naming([path]):
            name, data = _unpack(posixpath.basename(path), _fetch(path))
        documents.append(Document(path, name, data))
    return documents


@contextmanager
def naming(paths: Sequence[str]) -> Iterator[None]:
    """Put the paths of files before the errors that they cause."""
    try:
        yield
    except LabelError as error:
        raise LabelError(f"{some_names(paths)}: {error.message}", error.remedy) from error


def _fetch(path: str) -> bytes:
    try:
        return storage.read(path, _MOST_BYTES)
    except storage.FileTooLargeError as error:
        raise _too_large() from error
    except OSError as error:
        hint = storage.hint_at_near(path) if isinstance(error, FileNotFoundError) else ""
        raise LabelError(storage.reason_of(error), hint) from error


def _find_files(given: str) -> list[str]:
    path = storage.normalize(given) if "://" in given else given
    if storage.is_remote(path) and path.lower().endswith((*_ENDINGS, *_PACKED, ".zip")):
        return [path]
    if not storage.is_remote(path) and not os.path.isdir(path):
        return [path]
    try:
        listed = storage.list_files(path.rstrip("/"))
    except OSError as error:
        raise LabelError(f"{shown(given)}: {storage.reason_of(error)}") from error
    files = [
        file
        for file in listed
        if not posixpath.basename(file).startswith(".")
        and _unpacked(file).lower().endswith(_ENDINGS)
        and not file.lower().endswith(_SIDECAR)
    ]
    if not files:
        raise LabelError(f"{shown(given)}: no label files in this folder (extensions: {' '.join(_ENDINGS)})")
    return files


def _unpacked(name: str) -> str:
    return re.sub(rf"({'|'.join(map(re.escape, (*_PACKED, '.zip')))})$", "", name, flags=re.IGNORECASE)


def _unpack(name: str, data: bytes) -> tuple[str, bytes]:
    ending = posixpath.splitext(name)[1].lower()
    if ending == ".zip":
        return _unzip(data)
    if ending not in _PACKED:
        return name, data
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(pa.BufferReader(data), _PACKED[ending]) as stream:
            unpacked = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise LabelError(f"is not a whole {ending} file", "export it again") from error
    if len(unpacked) > _MOST_BYTES:
        raise _too_large()
    return _unpacked(name), unpacked


def _unzip(data: bytes) -> tuple[str, bytes]:
    try:
        return _unzip_one(data)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError) as error:
        raise LabelError(f"is not a .zip file that can be unpacked: {error}", "unpack it yourself") from error


def _unzip_one(data: bytes) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [
            file
            for file in archive.infolist()
            if file.filename.lower().endswith(_ENDINGS) and not file.filename.startswith("__MACOSX/")
        ]
        if len(files) != 1:
            raise LabelError(
                f"the archive holds {quantity(len(files), 'label file')}",
                "unpack it, and name the file, or the folder of them",
            )
        with archive.open(files[0]) as member:
            unpacked = member.read(_MOST_BYTES + 1)
    if len(unpacked) > _MOST_BYTES:
        raise _too_large()
    return posixpath.basename(files[0].filename), unpacked


def _too_large() -> LabelError:
    return LabelError(f"larger than {_MOST_BYTES >> 30} GiB", "divide it into several files")

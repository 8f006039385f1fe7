"""Find out what a model's file is, and open it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from model.foreign.original import ForeignError, Original, Wanted

_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".bin")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_LITERT = b"TFL3"
_GRAPH = "saved_model.pb"


def open_original(path: Path, wanted: Wanted) -> Original:
    """Open a model made elsewhere.

    Raises:
      ForeignError: it is of another kind, damaged, unsafe, or not a model of RGB images with these labels.
    """
    if path.is_dir():
        if not (path / _GRAPH).is_file():
            raise ForeignError(f"{path}: a folder without {_GRAPH}", "name the folder of a SavedModel, or a file")
        from model.foreign.saved_model import SavedModel

        return SavedModel(path, wanted)
    with path.open("rb") as file:
        head = file.read(8)
    if path.suffix in _PICKLES or head[:1] == b"\x80":
        raise ForeignError(
            f"{path.name}: a pickle, which runs code when it is loaded", "export it as ONNX where it was made"
        )
    if head == _HDF5 or (path.suffix == ".keras" and head.startswith(_ZIP)):
        from model.foreign.keras_file import KerasFile

        return KerasFile(path, wanted)
    if head[4:] == _LITERT:
        from model.foreign.litert_file import LiteRTFile

        return LiteRTFile(path, wanted)
    if path.suffix == ".onnx":
        from model.foreign.onnx_file import ONNXFile

        return ONNXFile(path, wanted)
    if path.name == _GRAPH:
        raise ForeignError(f"{path}: one file of a SavedModel", "name its folder")
    raise ForeignError(
        f"{path.name}: not a model that can be imported", "give a .keras, .h5, .tflite or .onnx file, or a SavedModel"
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, or of the names and digests of all files in a folder."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = "".join(f"{digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Golden pairs are arrays of a known kind and size, or refused, neither unpickled nor inflated."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.inference.bundle import (
    GOLDEN,
    BundleError,
    Description,
    load_bundle,
    seal_bundle,
)
from tests.pipelines.inference.sealed import FIELDS, assert_is_clear


def test_golden_pairs_are_read(folder: Path) -> None:
    golden = load_bundle(str(folder)).golden()
    assert golden.pixels.shape == (2, 8, 8, 3)
    assert golden.pixels.dtype == np.uint8
    assert golden.probabilities.shape == (2, 3)
    assert golden.probabilities.dtype == np.float32


def test_golden_pairs_are_never_unpickled(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("the golden pairs ran code",)

    buffer = io.BytesIO()
    np.savez(buffer, pixels=np.array([Trap()], dtype=object), probabilities=np.zeros((1, 3), np.float32))
    for content in (buffer.getvalue(), pickle.dumps(Trap())):
        (folder / GOLDEN).write_bytes(content)
        bundle = seal_bundle(folder, Description(**FIELDS))
        with pytest.raises(BundleError) as caught:
            bundle.golden()
        assert_is_clear(caught.value, folder)


def archive(pixels: Any, probabilities: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, pixels=pixels, probabilities=probabilities)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def header(shape: tuple[int, ...], dtype: str) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


PIXELS = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"PK\3\4 no archive", bytes(200)),
        archive(PIXELS, np.array([["a"] * 3] * 2)),
        archive(PIXELS.astype(float), np.zeros((2, 3), np.float32)),
        archive(PIXELS, np.zeros((2, 3))),
        archive(np.uint8(3), np.float32(3)),
        zipped(pixels=b"", probabilities=b""),
        zipped(pixels=b"\x93NUMPY\x03\0" + b"\xff" * 99, probabilities=b""),
        # The same length, and so a header that asks for more than any machine has.
        archive(PIXELS, np.zeros((2, 3), np.float32)).replace(b"(2, 8, 8, 3), }", b"(9999999999,)}"),
    ],
)
def test_golden_pairs_that_are_none_are_refused(folder: Path, content: bytes) -> None:
    (folder / GOLDEN).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        seal_bundle(folder, Description(**FIELDS)).golden()
    assert_is_clear(caught.value, folder)


def test_golden_pairs_that_would_fill_the_memory_are_refused_before_they_are_inflated(folder: Path) -> None:
    """The archive says that it holds 20 GB; a program that tried to read them would find none."""
    pairs = 100_000_000
    (folder / GOLDEN).write_bytes(
        zipped(pixels=header((pairs, 8, 8, 3), "|u1"), probabilities=header((pairs, 3), "<f4"))
    )
    with pytest.raises(BundleError, match="golden pairs are too many: 100,000,000 of 8 px") as caught:
        seal_bundle(folder, Description(**FIELDS)).golden()
    assert_is_clear(caught.value, folder)

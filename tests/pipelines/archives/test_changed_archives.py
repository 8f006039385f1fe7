"""An archive that changes after it was listed gives no member the bytes of another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.records import ImageRef
from tests.conftest import Bucket
from tests.pipelines.archives.packing import listed, pack, source

FILES = {f"{number}.bmp": random.Random(number).randbytes(60_000) for number in range(24)}
"""All of one size, like chips without compression: in another order, each lies where another was. Together they are
much more than is read ahead."""
MIXED = dict(reversed(FILES.items()))
TARS = ("tar", "tar.gz")


def members(path: str | Path) -> Sequence[ImageRef]:
    refs = [ref for ref in listed(path) if isinstance(ref, ImageRef)]
    assert len(refs) == len(FILES)
    return refs


@pytest.mark.parametrize("kind", TARS)
def test_a_tar_that_is_replaced_after_it_was_listed_gives_no_member_the_bytes_of_another(
    kind: str, tmp_path: Path
) -> None:
    path = pack(tmp_path / f"x.{kind}", FILES)
    refs = members(path)

    pack(tmp_path / f"mixed.{kind}", MIXED).replace(path)

    with closing(source()) as opened:
        for ref in refs:
            with pytest.raises(storage.ChangedFileError, match="has changed since it was listed"):
                opened.fetch_bytes(ref, lambda head, size: None)


@pytest.mark.parametrize("kind", TARS)
def test_a_tar_that_is_written_over_while_it_is_read_is_a_failure_from_there_on(kind: str, tmp_path: Path) -> None:
    path = pack(tmp_path / f"x.{kind}", FILES)
    first, *rest = members(path)
    filled = pack(tmp_path / f"filled.{kind}", MIXED).read_bytes().ljust(path.stat().st_size + 1)

    with closing(source()) as opened:
        assert opened.fetch_bytes(first, lambda head, size: None) == FILES["0.bmp"]
        path.write_bytes(filled)
        errors = []
        for ref in rest:
            try:
                data = opened.fetch_bytes(ref, lambda head, size: None)
            except storage.ChangedFileError as error:
                errors.append(error)
            else:
                assert data == FILES[ref.path.partition("::")[2]], "it has the bytes of another"
    assert len(errors) > len(rest) // 2


@pytest.mark.parametrize("kind", TARS)
def test_a_tar_in_a_bucket_is_read_in_the_version_that_was_listed_alone(
    kind: str, bucket: Bucket, tmp_path: Path
) -> None:
    path = f"{bucket.path}/x.{kind}"
    storage.write(path, pack(tmp_path / f"x.{kind}", FILES).read_bytes())
    refs = members(path)

    with closing(source()) as opened:
        assert opened.fetch_bytes(refs[1], lambda head, size: None) == FILES["1.bmp"]
    storage.write(path, pack(tmp_path / f"mixed.{kind}", MIXED).read_bytes())

    with closing(source()) as opened, pytest.raises(storage.ChangedFileError):
        opened.fetch_bytes(refs[-1], lambda head, size: None)

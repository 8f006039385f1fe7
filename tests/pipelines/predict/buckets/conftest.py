"""Chips and a bundle in a bucket, and what the same chips in a folder give."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines import storage
from pipelines.inference import ahead
from pipelines.inference import bundle as bundles
from tests.conftest import Bucket
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.pipelines.forking_pool import ENVIRONMENT
from tests.pipelines.predict.buckets.tagging import CHIPS, given, rows, run
from tools.workers import Cluster


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw chips, which no test changes."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(CHIPS):
        (folder / f"{seed}.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=seed)))
    return folder


@pytest.fixture
def chips(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "chips"))


@pytest.fixture(scope="session")
def put() -> set[str]:
    """Folders that are in a bucket already."""
    return set()


@pytest.fixture
def everywhere(drawn: Path, bundle_path: str, bucket: Bucket, put: set[str]) -> Bucket:
    """Find chips and bundle in the bucket, where the first test puts them."""
    for name, folder in (("chips", drawn), ("bundle", Path(bundle_path))):
        if (there := given(bucket, name)) not in put:
            copy(folder, there)
            put.add(there)
    # Each test fetches the bundle through its own proxy.
    ahead._load.cache_clear()
    bundles._read_once.cache_clear()
    return bucket


@pytest.fixture
def own_chips(drawn: Path, everywhere: Bucket) -> str:
    """Put chips into the bucket for a test that changes them, and return their folder."""
    copy(drawn, f"{everywhere.path}/chips")
    return f"{everywhere.path}/chips"


def copy(folder: Path, to: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            storage.write(f"{to}/{path.relative_to(folder)}", path.read_bytes())


@pytest.fixture
def runner(bucket: Bucket, request: pytest.FixtureRequest) -> Iterator[Sequence[str]]:
    """As for all tests, with workers that reach the bucket as this process does: through its proxy."""
    if getattr(request, "param", "local") == "local":
        yield ()
        return
    workers: Cluster = request.getfixturevalue("forked_workers")
    reach = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "STORAGE_EMULATOR_"))}
    environment = workers.workers.log.with_name(ENVIRONMENT.name)
    environment.write_text(json.dumps(reach))
    yield workers.flags
    environment.unlink()
    # Of a test that has failed this is shown.
    print(workers.jobs.tail, workers.workers.tail, sep="\n")


@pytest.fixture(scope="session")
def tagged(drawn: Path, bundle_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tag the same chips from a folder."""
    output = tmp_path_factory.mktemp("tagged") / "out"
    assert run(input=drawn, model=bundle_path, output=output) == 0
    return output


@pytest.fixture
def expected(tagged: Path) -> list[dict[str, Any]]:
    return rows(str(tagged))

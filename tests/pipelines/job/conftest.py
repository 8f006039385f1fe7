"""Children of a run, sound and with faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.images import DecodeSettings
from pipelines.inference.ahead import Model
from pipelines.inference.bundle import load_bundle
from pipelines.job.predicting import PredictSettings
from pipelines.job.predictor_process import Settings
from pipelines.job.processes import Processes
from tests.pipelines.images.faults import FAULTS


@pytest.fixture(scope="module")
def settings(bundle_path: str) -> Settings:
    bundle = load_bundle(bundle_path)
    decoding = DecodeSettings(bundle.image_size, bundle.resize_filter)
    return Settings(PredictSettings(Model(bundle.path, bundle.digest), decoding, reads_in_flight=4), processes=2)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the children of this module's processes the faults of bad native libraries."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "sitecustomize.py").write_text(FAULTS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setenv("HANGING", str(folder / "hanging"))
        yield folder


@pytest.fixture
def two(settings: Settings, faults: Path) -> Iterator[Processes]:
    with closing(Processes(settings, (1, 1))) as children:
        yield children

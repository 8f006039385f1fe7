"""Fixtures that several test modules share."""

from __future__ import annotations

import io
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from pipelines import storage
from pipelines.inference.bundle import GOLDEN, LITERT_MODEL, MODEL_CARD, SAVED_MODEL, load_bundle, seal_bundle
from pipelines.output.run import Run
from pipelines.storage import patience
from tests import ROOT, image_files
from tools.emulators import Emulator, MissingEmulatorError, amazon, environment, google
from tools.proxy import Proxy, before
from tools.workers import Cluster, job_service, worker_pool

# Helpers beside the tests assert too, and say as much of what they have found.
pytest.register_assert_rewrite("tests.deployment", "tests.model", "tests.outputs", "tests.pipelines")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The same examples in every run, and no limit of time: the machines that run these tests are of all speeds.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("same")

REAL_CHIPS = ROOT.parent / "shared" / "data" / "planet"

LABELS = ("bright", "green", "blue")
IMAGE_SIZE = 32

POISON = (255, 0, 255)


class Bucket(NamedTuple):
    """A folder in a bucket, of which each test has one of its own.

    Attributes:
      path: of the folder.
      proxy: through which this process and those that it starts reach the bucket.
    """

    path: str
    proxy: Proxy


class Unfinished(NamedTuple):
    """A training that was interrupted when all epochs were done, before it could write its bundle.

    Attributes:
      flags: of the command, all but --output.
      workspace: the folder that goes on, if it is beside the output and called OUTPUT.training; for tests to copy.
      told: what the command wrote to standard error.
    """

    flags: list[str]
    workspace: Path
    told: str


WriteChips = Callable[[Sequence[str]], Path]

on_both_runners = pytest.mark.parametrize("runner", ["local", "portable"], indirect=True)
"""For tests of what a job promises wherever it runs. Those without it change something in the process that launches,
which workers elsewhere know nothing of, or are about what a local run has alone: waves, progress, signals."""


@pytest.fixture(scope="session")
def planet() -> Path:
    """Chips of the Planet set, which are never part of the project."""
    if not REAL_CHIPS.is_dir():
        pytest.skip("the real chips are not at ../shared/data/planet")
    return REAL_CHIPS


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    """TensorFlow where it is installed; the base install has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow", reason="TensorFlow is not installed: pip install 'scenetags[train]'")


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory, tensorflow: Any) -> str:
    """Path of a small bundle that tells by their colour whether images are bright, green or blue."""
    return _write_bundle(tmp_path_factory.mktemp("bundle") / "tiny", tensorflow)


@pytest.fixture(scope="session")
def poisoned_bundle_path(tmp_path_factory: pytest.TempPathFactory, tensorflow: Any) -> str:
    """Path of a bundle like the small one, in which a kernel fails when it comes to a `POISON` coloured image."""
    return _write_bundle(tmp_path_factory.mktemp("bundle") / "poisoned", tensorflow, poisoned=True)


@pytest.fixture(scope="session")
def unfinished(tmp_path_factory: pytest.TempPathFactory, tensorflow: Any) -> Unfinished:
    """Train a tiny network on chips drawn by code, for two epochs, and interrupt it before the export."""
    from model import train
    from model.export import bundle as export
    from model.synthetic import chips as synthetic

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("unfinished")
    synthetic.write_chips(folder, 48, seed=1, size=64)
    flags = ["--images", str(folder / "jpg"), "--labels", str(folder / "labels.csv"), "--image_size", str(IMAGE_SIZE)]
    flags += ["--alpha", "0.35", "--weights", "none", "--finetune_epochs", "2"]
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as told:
        patch.setattr(export, "export", interrupt)
        assert train.main([*flags, "--output", str(folder / "bundle")]) == 130
    return Unfinished(flags, folder / "bundle.training", told.getvalue())


@pytest.fixture(scope="session")
def emulators() -> Iterator[Mapping[str, Emulator]]:
    """Servers of both kinds of buckets, by the scheme of their paths."""
    with ExitStack() as running:
        try:
            servers = [running.enter_context(serve()) for serve in (google, amazon)]
        except MissingEmulatorError as error:
            pytest.skip(str(error))
        yield {server.scheme: server for server in servers}


@pytest.fixture(params=["gs", "s3"])
def bucket(
    request: pytest.FixtureRequest, emulators: Mapping[str, Emulator], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    """Reach a bucket of each kind, through a proxy that a test can let disturb the requests."""
    emulator = emulators[request.param]
    with before(emulator.host) as proxy:
        for name, value in environment(emulator.scheme, proxy.host).items():
            monkeypatch.setenv(name, value)
        # Servers on loopback are not relieved by long pauses.
        monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.05)
        storage._store.cache_clear()
        yield Bucket(f"{emulator.bucket}/{uuid.uuid4().hex}", proxy)
    storage._store.cache_clear()


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Beam's portable runner, with workers that share nothing with this process."""
    folder = tmp_path_factory.mktemp("workers")
    with job_service(folder / "jobs") as jobs, worker_pool(folder / "workers") as workers:
        yield Cluster(jobs, workers)


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Iterator[Sequence[str]]:
    """Beam's flags that choose the runner: none for the local one, which a test gets that does not ask for both."""
    if getattr(request, "param", "local") == "local":
        yield ()
        return
    workers: Cluster = request.getfixturevalue("workers")
    yield workers.flags
    # Of a test that has failed this is shown.
    print(workers.jobs.tail, workers.workers.tail, sep="\n")


@pytest.fixture
def bundle_copy(bundle_path: str, tmp_path: Path) -> Path:
    """Copy the small bundle, for tests that do it harm."""
    return Path(shutil.copytree(bundle_path, tmp_path / "bundle_copy"))


@pytest.fixture
def chips(tmp_path: Path) -> WriteChips:
    """Write chips of these names, with the reference set's defect, and return their folder."""

    def write(names: Sequence[str]) -> Path:
        image_files.write_chips(tmp_path / "chips", names)
        return tmp_path / "chips"

    return write


@pytest.fixture
def run(tmp_path: Path, bundle_path: str) -> Run:
    """Make a run of the small bundle, into a folder that is not there yet."""
    bundle = load_bundle(bundle_path)
    return Run("20260101T000000Z-0002", str(tmp_path / "out"), bundle, bundle.thresholds)


@pytest.fixture
def earlier(run: Run) -> Run:
    """Make a run into the same folder that began before."""
    return replace(run, name="20260101T000000Z-0001")


def _write_bundle(folder: Path, tf: Any, poisoned: bool = False) -> str:
    folder.mkdir()
    golden = np.stack([image_files.picture(IMAGE_SIZE, IMAGE_SIZE, seed=seed) for seed in range(4)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probabilities = _write_models(tf, folder, golden, poisoned)
    np.savez_compressed(folder / GOLDEN, pixels=golden, probabilities=probabilities)
    (folder / MODEL_CARD).write_text("A model for tests.\n")
    seal_bundle(
        folder,
        name=folder.name,
        labels=LABELS,
        thresholds=[0.5, 0.5, 0.5],
        image_size=IMAGE_SIZE,
        resize_filter="bilinear",
        training={"images": 0},
        metrics={},
        versions={"tensorflow": tf.__version__},
    )
    return str(folder)


def _write_models(tf: Any, folder: Path, pixels: NDArray[np.uint8], poisoned: bool) -> NDArray[np.float32]:
    """Write the SavedModel and the LiteRT file of a small network, and return its probabilities of these pixels."""
    rng = np.random.default_rng(0)
    # Three channels carry the colours through the network; the others are noise of little weight.
    first, second = (rng.normal(0, 0.2, (3, 3, inputs, 8)).astype(np.float32) for inputs in (3, 8))
    for colour in range(3):
        for kernel in (first, second):
            kernel[..., colour] = 0
            kernel[:, :, colour, colour] = 1 / 9
    last = rng.normal(0, 0.3, (8, len(LABELS))).astype(np.float32)
    last[:3] += np.array([[4, -6, -6], [4, 12, -6], [4, -6, 12]], np.float32)
    bias = np.array([-6, 0, 0], np.float32)

    class Network(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tf.Variable(weights) for weights in (first, second, last, bias)]

        @tf.function(input_signature=[tf.TensorSpec((None, IMAGE_SIZE, IMAGE_SIZE, 3), tf.uint8, name="pixels")])  # type: ignore[untyped-decorator]
        def serve(self, pixels: Any) -> Any:
            first, second, last, bias = self.weights
            values = tf.cast(pixels, tf.float32) / 255
            values = tf.nn.relu(tf.nn.conv2d(values, first, strides=2, padding="SAME"))
            values = tf.nn.relu(tf.nn.conv2d(values, second, strides=2, padding="SAME"))
            logits = tf.reduce_mean(values, axis=(1, 2)) @ last + bias
            if poisoned:
                difference = tf.abs(tf.cast(pixels[:, 0, 0], tf.float32) - tf.constant(POISON, tf.float32))
                poison = tf.reduce_sum(difference, axis=-1) < 1
                # There is one number to gather from, and the poison points far past it.
                logits += tf.gather(tf.zeros(1), tf.cast(poison, tf.int32) * 1000)[:, tf.newaxis]
            return tf.sigmoid(logits)

    network = Network()
    tf.saved_model.save(network, str(folder / SAVED_MODEL), signatures={"serve": network.serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL), signature_keys=["serve"])
    (folder / LITERT_MODEL).write_bytes(converter.convert())
    probabilities: NDArray[np.float32] = network.serve(pixels).numpy()
    return probabilities

"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

from pipelines import storage
from pipelines.storage import patience, stores
from pipelines.supervision.machine import available_cores
from tests import ROOT
from tests.bundles import write_bundle
from tests.sharing import made_once
from tools.emulators import Emulator, MissingEmulatorError, amazon, environment, google
from tools.proxy import Proxy, before

# Helpers next to the tests assert too, and report failures as fully.
pytest.register_assert_rewrite("tests.deployment", "tests.model", "tests.outputs", "tests.pipelines")

# Whatever the environment says, compiled modules are kept: tests start hundreds of processes, each of which would
# compile the project again, and each process of pytest-xdist would compile the tests again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Beam makes 160 parsers of arguments for a run, of which each looks for translations and for the size of the terminal.
os.environ.update(LANGUAGE="C", COLUMNS="80", LINES="24")

# Whatever is imported and collected stays: to look for garbage among it as often as usual took a fifth of the time.
gc.set_threshold(50_000, 20, 100)

# The same examples in every run, and no limit of time: the machines that run these tests are of all speeds.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("same")

WORKERS = 4
"""Processes in which the tests run at most: TensorFlow, Beam and what they start take 2 GB for each."""

REAL_CHIPS = ROOT.parent / "shared" / "data" / "planet"


class Bucket(NamedTuple):
    """A folder in a bucket, of which each test has one of its own.

    Attributes:
      path: of the folder.
      proxy: through which this process and those that it starts reach the bucket.
    """

    path: str
    proxy: Proxy


def pytest_configure() -> None:
    """Heed interrupts also where a shell has them ignored, as in the background: tests send them, and wait."""
    for key, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(key) == signal.SIG_IGN:
            signal.signal(key, usual)


def pytest_collection_finish() -> None:
    """Exempt what was collected from garbage collection: it stays until the end."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the tests on all cores, and those of one module, which would be over before another process is at work, here.

    One process more than there are cores: tests wait for processes that they start, and for servers. `-n 0` runs all of
    them here, one after another.
    """
    if len(config.args) == 1 and config.args[0].partition("::")[0].endswith(".py"):
        return 0
    return min(available_cores() + 1, WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep together what shares a fixture that costs much, unless another `--dist` is asked for."""
    from tests.scheduling import Grouped

    return Grouped(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session", autouse=True)
def _temporary_files_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have temporary files made in a folder of the session, which pytest deletes after some more sessions.

    Beam leaves some of its folders, and each run of ours looks through all that are there for those of killed runs.
    """
    # Its name is short: that of a socket may have 107 bytes.
    place = str(tmp_path_factory.mktemp("t"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", place)
        yield


@pytest.fixture(scope="session", autouse=True)
def _steps_looked_through_once() -> Iterator[None]:
    """Have Beam look only once through the methods of each kind of step, for state and timers.

    It does so eight times for each step of a pipeline, which takes a fifth of the time of a run of a few images.
    """
    if "apache_beam" not in sys.modules:
        yield
        return
    from apache_beam.transforms import userstate

    look_through, found = userstate.get_dofn_specs, {}

    def look_once(step: Any) -> Any:
        # Functions become steps of one kind, and some are methods of other objects.
        if isinstance(vars(step).get("process"), MethodType):
            return look_through(step)
        if type(step) not in found:
            found[type(step)] = look_through(step)
        return found[type(step)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(userstate, "get_dofn_specs", look_once)
        yield


@pytest.fixture(scope="session")
def planet() -> Path:
    """Chips of the Planet set, which are never part of the project."""
    if not REAL_CHIPS.is_dir():
        pytest.skip("the real chips are not at ../shared/data/planet")
    return REAL_CHIPS


@pytest.fixture(scope="session")
def tensorflow_installed() -> None:
    """Skip what needs TensorFlow where it is not installed, as in the base install; to import it takes seconds."""
    if find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed: pip install 'scenetags[train]'")


@pytest.fixture(scope="session")
def tensorflow(tensorflow_installed: None) -> Any:
    """TensorFlow where it is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow

        return tensorflow


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory, tensorflow_installed: None) -> str:
    """Path of a small bundle that tells by their colour whether images are bright, green or blue."""
    return str(made_once(tmp_path_factory, "bundle", lambda folder: write_bundle(folder / "tiny")) / "tiny")


@pytest.fixture(scope="session")
def _descriptions_read_once() -> None:
    """Have boto3 keep the descriptions of Amazon's services: each client would parse megabytes of them again."""
    loaders = pytest.importorskip("botocore.loaders", reason="boto3 is not installed: pip install 'scenetags[s3]'")
    loader, load = loaders.JSONFileLoader(), loaders.JSONFileLoader.load_file
    read = cache(lambda path: load(loader, path))
    loaders.JSONFileLoader.load_file = lambda _, path: read(path)


@pytest.fixture(scope="session")
def emulators(_descriptions_read_once: None) -> Iterator[Mapping[str, Emulator]]:
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
        # A run that reads anonymously, or has others pay, leaves that to its process.
        monkeypatch.setattr(stores, "_access", storage.Access())
        stores.open_store.cache_clear()
        yield Bucket(f"{emulator.bucket}/{uuid.uuid4().hex}", proxy)
    stores.open_store.cache_clear()

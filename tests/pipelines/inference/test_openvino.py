"""OpenVINO in both precisions: the same bits whatever the call, nothing reported to anyone, or a clear refusal."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.inference import PRECISIONS, engines, openvino_runtime, precision, processor
from pipelines.inference.bundle import LITERT_MODEL, Bundle, BundleError, load_bundle
from pipelines.inference.engines import check_engine, open_engine
from pipelines.inference.openvino_engine import OpenVINOEngine
from pipelines.inference.pool import PooledEngine
from pipelines.inference.precision import choose_precision
from pipelines.inference.processor import AVX512, bfloat16_units, describe_processor, flagged_units
from tests.image_files import picture

if find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra", allow_module_level=True)
with_units = pytest.mark.skipif(not bfloat16_units(), reason="this processor has no units for bfloat16")


@pytest.fixture(scope="module")
def bundle(bundle_path: str) -> Bundle:
    return load_bundle(bundle_path)


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.stack([picture(32, 32, seed=seed) for seed in range(11)])


def pretend(monkeypatch: pytest.MonkeyPatch, flagged: str, found: bool) -> None:
    """Let Linux and OpenVINO say which units this processor has."""
    capabilities = ["FP32", "INT8", *["BF16"] * found]
    monkeypatch.setattr(openvino_runtime.load_core(), "get_property", lambda *_: capabilities, raising=False)
    monkeypatch.setattr(processor, "flagged_units", lambda *_: flagged)
    monkeypatch.setattr(processor, "describe_processor", lambda *_: "Some Processor")


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=with_units)])
def test_openvino_gives_the_same_bits_for_every_batch_size_and_number_of_threads(
    bundle: Bundle, pixels: NDArray[np.uint8], precision: str
) -> None:
    model, samples = bundle.read(LITERT_MODEL), bundle.golden().pixels if precision == "bfloat16" else None
    expected = OpenVINOEngine(model, 1, samples=samples).predict(pixels)
    for threads in (1, 2, 3):
        engine = OpenVINOEngine(model, threads, samples=samples)
        for size in (1, 2, 3, 8, 11):
            batches = [engine.predict(pixels[at : at + size]) for at in range(0, len(pixels), size)]
            np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_each_thread_computes_the_images_that_it_brings(bundle: Bundle, pixels: NDArray[np.uint8]) -> None:
    """Where threads of OpenVINO's computed them instead, a tenth of the cores' time was lost to switching."""
    engine, many = OpenVINOEngine(bundle.read(LITERT_MODEL), 2), np.concatenate([pixels] * 40)
    ready = threading.Barrier(3)

    def predict() -> float:
        ready.wait()
        began = time.thread_time()
        engine.predict(many)
        return time.thread_time() - began

    with ThreadPoolExecutor(2) as executor:
        callers = [executor.submit(predict) for _ in range(2)]
        began = time.process_time()
        ready.wait()
        computed = sum(caller.result() for caller in callers)
        taken = time.process_time() - began
    assert computed > 0.8 * taken


@with_units
def test_only_bfloat16_computes_in_bfloat16(bundle: Bundle, pixels: NDArray[np.uint8]) -> None:
    litert = open_engine(bundle, "litert").predict(pixels)
    exact, rounded = (open_engine(bundle, "openvino", precision=name).predict(pixels) for name in PRECISIONS)
    assert np.abs(exact - litert).max() < 2e-5
    assert 1e-4 < np.abs(rounded - litert).max() < 0.05
    assert open_engine(bundle, precision="bfloat16").name == "openvino"


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=with_units)])
def test_openvino_embeds_as_litert_does(bundle: Bundle, pixels: NDArray[np.uint8], precision: str) -> None:
    tolerance = 2e-5 if precision == "float32" else 0.05
    litert, ours = (
        embedding_engine(bundle, engine, of).embed(pixels)
        for engine, of in (("litert", "float32"), ("openvino", precision))
    )
    np.testing.assert_allclose(ours[0], litert[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours[1], litert[1], rtol=0, atol=tolerance)


def embedding_engine(bundle: Bundle, name: str, precision: str) -> PooledEngine:
    engine = open_engine(bundle, name, embeds=True, precision=precision)
    assert isinstance(engine, PooledEngine)
    return engine


@pytest.mark.parametrize(
    ("flagged", "found", "described"),
    [
        ("", False, "Some Processor"),
        ("", True, "Some Processor"),
        (AVX512, False, "Some Processor, not usable by OpenVINO"),
    ],
)
def test_bfloat16_is_refused_where_the_processor_has_no_units_for_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, flagged: str, found: bool, described: str
) -> None:
    pretend(monkeypatch, flagged, found)
    with pytest.raises(BundleError) as refused:
        open_engine(bundle, precision="bfloat16")
    assert str(refused.value) == (
        f"this processor has no units for bfloat16 ({described}); "
        "use --precision float32, or a machine that has them, e.g. of Google's c3 or c4 series"
    )
    assert open_engine(bundle, "openvino").name == "openvino"


@pytest.mark.parametrize(
    ("flagged", "found", "units"), [(AVX512, True, AVX512), (AVX512, False, ""), ("", True, ""), ("", False, "")]
)
def test_a_processor_has_units_if_both_linux_and_openvino_say_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, flagged: str, found: bool, units: str
) -> None:
    pretend(monkeypatch, flagged, found)
    assert bfloat16_units() == units
    assert choose_precision("auto", bundle, lambda _: None) == (("bfloat16" if units else "float32"), "", False)


def test_where_openvino_cannot_be_loaded_linux_says_whether_a_processor_has_units(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(processor, "load_core", broken)
    monkeypatch.setattr(processor, "flagged_units", lambda *_: AVX512)
    assert bfloat16_units() == AVX512


@with_units
def test_bfloat16_that_is_far_from_the_golden_pairs_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BFLOAT16_TOLERANCE", 1e-6)
    with pytest.raises(
        BundleError, match=r" in bfloat16: they differ by [^ ]+ on average, more than 1e-06; use --precision float32$"
    ):
        open_engine(bundle, precision="bfloat16")


@with_units
def test_in_bfloat16_too_the_graph_must_reproduce_the_golden_pairs_in_float32(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "GOLDEN_TOLERANCE", 1e-12)
    with pytest.raises(
        BundleError,
        match=r"probabilities of bundle [^ ]+: they differ by [^ ]+, more than 1e-12; use --precision float32 "
        "--engine litert$",
    ):
        open_engine(bundle, precision="bfloat16")


def test_an_int8_bundle_is_not_run_in_bfloat16(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "is_int8", True)
    with pytest.raises(BundleError, match=r"computes in int8, not in bfloat16; omit --precision$"):
        check_engine(bundle, "openvino", precision="bfloat16")
    assert choose_precision("openvino", bundle, lambda _: None).precision == "float32"


@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_another_engine_is_not_asked_for_bfloat16(bundle: Bundle, engine: str) -> None:
    with pytest.raises(BundleError, match=f"^engine {engine} does not compute in bfloat16; use --engine openvino$"):
        open_engine(bundle, engine, precision="bfloat16")


@pytest.mark.parametrize(
    ("engine", "units", "gpu", "chosen"),
    [
        ("auto", "some", False, "bfloat16"),
        ("openvino", "some", True, "bfloat16"),
        ("auto", "some", True, "float32"),
        ("auto", "", False, "float32"),
        ("litert", "some", False, "float32"),
    ],
)
def test_a_precision_that_is_left_open_is_bfloat16_only_where_it_can_be_and_pays(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, engine: str, units: str, gpu: bool, chosen: str
) -> None:
    monkeypatch.setattr(precision, "bfloat16_units", lambda: units)
    monkeypatch.setattr(precision, "tensorflow_has_gpu", lambda: gpu)
    assert choose_precision(engine, bundle, lambda _: None) == (chosen, "", False)


@pytest.mark.parametrize("refused", [("bfloat16",), PRECISIONS])
def test_a_precision_that_is_left_open_is_float32_where_bfloat16_fails_unless_that_fails_too(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, refused: Sequence[str]
) -> None:
    def attempt(precision: str) -> None:
        if precision in refused:
            raise BundleError(f"no {precision}", "do something")

    monkeypatch.setattr(precision, "bfloat16_units", lambda: "some units")
    if "float32" in refused:
        with pytest.raises(BundleError, match=r"^no float32; do something$"):
            choose_precision("auto", bundle, attempt)
    else:
        assert str(choose_precision("auto", bundle, attempt)) == (
            "--precision auto computes in float32, since no bfloat16"
        )


def test_a_signal_is_handled_after_engines_have_ended_in_any_order(bundle: Bundle) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        first = open_engine(bundle, "openvino")
        second = open_engine(bundle, "openvino")
        del first
        gc.collect()
        del second
        gc.collect()
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == [signal.SIGUSR1]


def test_the_import_of_openvino_reports_to_nobody(bundle: Bundle) -> None:
    open_engine(bundle, "openvino")
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]


@pytest.mark.parametrize(
    ("described", "units", "name"),
    [
        ("model name\t: Xeon\nflags\t\t: avx2 avx512f avx512_bf16 amx_bf16\n", "AMX matrix units", "Xeon, AMX matrix"),
        ("model name\t: EPYC\nflags\t\t: avx2 avx512f avx512_bf16\n", "AVX-512 vector instructions", "EPYC, AVX-512 v"),
        ("model name\t: Old\nflags\t\t: avx2 avx512f\n\nflags\t\t: amx_bf16\n", "", "Old, AVX-512"),
        ("model name\t: Older\nflags\t\t: sse4_2\n", "", "Older"),
        ("", "", ""),
        (None, "", ""),
    ],
)
def test_a_processor_is_known_by_its_flags(tmp_path: Path, described: Any, units: str, name: str) -> None:
    if described is not None:
        (tmp_path / "cpuinfo").write_text(described)
    assert flagged_units(tmp_path / "cpuinfo") == units
    assert describe_processor(tmp_path / "cpuinfo").startswith(name)


def test_whatever_an_incomplete_package_raises_it_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise RuntimeError('no plugins')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    with pytest.raises(ImportError, match=r"^RuntimeError: no plugins$"):
        openvino_runtime.import_openvino()

"""Both engines on a real, small model: the same numbers, or a clear refusal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.export import quantization
from pipelines.errors import ExitCode, ScenetagsError
from pipelines.inference import engines, gpu, openvino_engine, openvino_runtime, tensorflow_engine
from pipelines.inference.bundle import LITERT_MODEL, Bundle, BundleError, load_bundle
from pipelines.inference.embeddings import embedding_size
from pipelines.inference.engines import EngineStartError, check_engine, open_engine
from pipelines.inference.litert_engine import LiteRTEngine
from tests.image_files import picture
from tests.pipelines.inference.golden_pairs import (
    ENGINES,
    assert_is_one_line,
    change_golden,
    scale,
    seal,
    shift,
    swap_colours,
)

COLOURS = ((0, 0, 0), (255, 255, 255), (0, 255, 0), (0, 0, 255))


@pytest.fixture(scope="module")
def bundle(bundle_path: str) -> Bundle:
    return load_bundle(bundle_path)


@pytest.fixture(scope="module")
def int8_bundle(bundle_path: str, pixels: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = Path(shutil.copytree(bundle_path, tmp_path_factory.mktemp("int8") / "tiny"))
    quantization.quantize(folder, pixels)

    def answer(golden: dict[str, NDArray[Any]]) -> None:
        golden["probabilities"] = LiteRTEngine((folder / LITERT_MODEL).read_bytes()).predict(golden["pixels"])

    change_golden(folder, answer)
    return seal(folder)


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8)
    return np.concatenate([noise, flat_chips(COLOURS), np.stack([picture(32, 32, seed=seed) for seed in range(11)])])


@pytest.fixture(scope="module")
def one_by_one(bundle: Bundle, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    engine = LiteRTEngine(bundle.read(LITERT_MODEL), threads=1)
    return np.concatenate([engine.predict(pixels[at : at + 1]) for at in range(len(pixels))])


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_gives_a_probability_for_every_image_and_label(
    bundle: Bundle, pixels: NDArray[np.uint8], name: str
) -> None:
    probabilities = open_engine(bundle, name).predict(pixels)
    assert probabilities.shape == (len(pixels), len(bundle.labels))
    assert probabilities.dtype == np.float32
    assert np.all((probabilities >= 0) & (probabilities <= 1))
    assert np.ptp(probabilities, axis=0).min() > 0.3, "a model that always says the same would hide mistakes"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("core.cpp:117: Resource temporarily unavailable"), "cannot be opened: core.cpp:117: Resource"),
        (RuntimeError("failed to create XNNPACK runtime"), "cannot be opened: failed to create XNNPACK runtime; raise"),
        (MemoryError(), "cannot be opened: MemoryError; raise the limits on memory and processes (ulimit -v and -u"),
        (RuntimeError("node 3 is unknown"), "cannot run bundle"),
        (RuntimeError(), "RuntimeError; if memory is limited, raise the limits"),
    ],
)
def test_a_limit_of_the_system_is_not_blamed_on_the_bundle(
    bundle: Bundle, error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(engines, "LiteRTEngine", fail)
    with pytest.raises(ScenetagsError) as refused:
        open_engine(bundle, "litert")
    assert said in str(refused.value)
    assert refused.value.exit_code == (ExitCode.STOPPED if "cannot be opened" in said else ExitCode.WRONG_USAGE)


@pytest.mark.parametrize(
    ("has_gpu", "remedy"), [(True, "free the GPU's memory"), (False, "raise the limits on memory")]
)
def test_what_lacks_memory_of_a_gpu_is_told_to_free_it(
    bundle: Bundle, has_gpu: bool, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("Status: out of memory")

    monkeypatch.setattr(engines, "TensorFlowEngine", fail)
    monkeypatch.setattr(engines, "tensorflow_has_gpu", lambda: has_gpu)
    with pytest.raises(EngineStartError, match=f"engine tensorflow cannot be opened: .*; {remedy}"):
        open_engine(bundle, "tensorflow")


@pytest.mark.parametrize(
    ("kind", "message", "raised"),
    [
        ("ResourceExhaustedError", "OOM when allocating tensor", MemoryError),
        ("NotFoundError", "No algorithm worked! Error messages: ...", MemoryError),
        ("InternalError", "CUDNN_STATUS_ALLOC_FAILED", MemoryError),
        ("InternalError", "CUDA_ERROR_OUT_OF_MEMORY: out of memory", MemoryError),
        ("InternalError", "kernel failed", None),
    ],
)
def test_whatever_shows_that_a_gpu_lacks_memory_halves_the_batch(
    bundle: Bundle, pixels: NDArray[np.uint8], tensorflow: Any, kind: str, message: str, raised: type[Exception] | None
) -> None:
    engine = open_engine(bundle, "tensorflow")
    error = getattr(tensorflow.errors, kind)

    def fail(*arguments: object) -> None:
        raise error(None, None, message)

    engine._serve = fail  # type: ignore[attr-defined]
    with pytest.raises(raised or error, match=message[:10]):
        engine.predict(pixels)


def test_engines_agree(bundle: Bundle, pixels: NDArray[np.uint8]) -> None:
    litert, openvino, tensorflow = (open_engine(bundle, name).predict(pixels) for name in ENGINES)
    np.testing.assert_allclose(litert, tensorflow, rtol=0, atol=2e-5)
    np.testing.assert_allclose(openvino, tensorflow, rtol=0, atol=2e-5)


@pytest.mark.parametrize("threads", range(1, 5))
def test_litert_gives_the_same_bits_for_every_batch_size(
    bundle: Bundle, pixels: NDArray[np.uint8], one_by_one: NDArray[np.float32], threads: int
) -> None:
    engine = LiteRTEngine(bundle.read(LITERT_MODEL), threads)
    for size in (*range(1, 10), 3, 1):
        batches = [engine.predict(pixels[at : at + size]) for at in range(0, len(pixels), size)]
        assert np.array_equal(np.concatenate(batches), one_by_one), f"batches of {size} on {threads} threads"


@pytest.mark.parametrize("name", ENGINES)
def test_colours_arrive_in_the_order_red_green_blue(bundle: Bundle, name: str) -> None:
    tags = [
        {label for label, probability in zip(bundle.labels, row, strict=True) if probability >= 0.6}
        for row in open_engine(bundle, name).predict(flat_chips(COLOURS))
    ]
    assert tags == [set(), {"bright"}, {"green"}, {"blue"}]


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for /dev."""
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpu, "_DEVICES", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("device", "usable", "expected"),
    [
        ("nvidia0", True, "tensorflow"),
        ("nvidia3", True, "tensorflow"),
        ("dxg", True, "tensorflow"),
        ("kfd", True, "tensorflow"),
        ("nvidia0", False, "litert"),
        ("null", True, "litert"),
    ],
)
def test_auto_takes_tensorflow_only_for_a_gpu(
    bundle: Bundle,
    devices: Path,
    tensorflow: Any,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    usable: bool,
    expected: str,
) -> None:
    (devices / device).touch()
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [kind] * usable)
    assert engines.choose_engine(bundle, "auto") == expected


def test_a_bundle_in_int8_runs_in_litert_wherever(int8_bundle: Bundle, devices: Path) -> None:
    (devices / "nvidia0").touch()
    assert open_engine(int8_bundle, "auto").name == "litert"
    with pytest.raises(BundleError, match=r"has no saved_model/, like every int8 bundle; use --engine litert") as no:
        open_engine(int8_bundle, "tensorflow")
    assert_is_one_line(no.value)


def test_an_int8_file_gives_the_same_bits_for_every_batch_size(
    int8_bundle: Bundle, bundle: Bundle, pixels: NDArray[np.uint8], one_by_one: NDArray[np.float32]
) -> None:
    engine = open_engine(int8_bundle, "litert", threads=3)
    whole = engine.predict(pixels)
    assert np.array_equal(np.concatenate([engine.predict(pixels[at : at + 1]) for at in range(len(pixels))]), whole)
    assert 0 < np.abs(whole - one_by_one).max() < 0.2


@pytest.mark.parametrize("change", ["shift", "swap_colours", "scale"])
def test_an_int8_file_is_held_to_its_golden_pairs_as_strictly(int8_bundle: Bundle, tmp_path: Path, change: str) -> None:
    copy = Path(shutil.copytree(int8_bundle.path, tmp_path / "copy"))
    change_golden(copy, {"shift": shift, "swap_colours": swap_colours, "scale": scale}[change])
    with pytest.raises(BundleError, match="litert does not reproduce the golden probabilities"):
        open_engine(seal(copy))


LIBRARIES = pytest.mark.parametrize(
    ("name", "module"), [("litert", "ai_edge_litert"), ("openvino", "openvino"), ("tensorflow", "tensorflow")]
)


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the libraries that other tests have loaded."""
    monkeypatch.setattr(openvino_engine, "load_core", openvino_runtime.load_core.__wrapped__)
    monkeypatch.delitem(sys.modules, "ai_edge_litert.interpreter", raising=False)


@LIBRARIES
@pytest.mark.usefixtures("nothing_loaded")
def test_an_engine_that_is_not_installed_is_named(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BundleError, match=rf"engine {name} is not installed .*{module}.*; run pip install") as caught:
        open_engine(bundle, name)
    assert_is_one_line(caught.value)


@LIBRARIES
@pytest.mark.usefixtures("nothing_loaded")
def test_an_engine_that_is_installed_but_broken_is_not_called_missing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, module: str
) -> None:
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text(
        "raise ImportError('libtbb.so.12:\\ncannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(
        BundleError,
        match=rf"^engine {name} cannot be imported \(.*libtbb.so.12: cannot open shared object file\); install what it "
        rf"lacks, or run pip install --force-reinstall {module.replace('_', '-')}$",
    ) as caught:
        open_engine(bundle, name)
    assert_is_one_line(caught.value)


def test_importing_the_engines_imports_none_of_their_libraries() -> None:
    assert not {"tensorflow", "ai_edge_litert"} & set(vars(engines))


def flat_chips(colours: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    return np.array(colours, np.uint8)[:, None, None].repeat(32, axis=1).repeat(32, axis=2)


def test_a_batch_too_large_for_tensorflows_memory_is_a_memory_error(
    bundle: Bundle, tensorflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(pixels: Any) -> Any:
        # For real it takes TensorFlow 10 s, in which it hopes for memory that others give back.
        raise tensorflow.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    engine = open_engine(bundle, "tensorflow")
    monkeypatch.setattr(engine, "_serve", exhaust)

    with pytest.raises(MemoryError, match="OOM when allocating tensor"):
        engine.predict(np.zeros((2, bundle.image_size, bundle.image_size, 3), np.uint8))


def test_tensorflow_computes_in_full_float32_on_a_gpu_too(bundle: Bundle, tensorflow: Any) -> None:
    switch = tensorflow.config.experimental
    switch.enable_tensor_float_32_execution(True)

    open_engine(bundle, "tensorflow")

    assert not switch.tensor_float_32_execution_enabled()


def test_tensorflow_gets_the_number_of_cores_it_may_use(
    bundle: Bundle, tensorflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {}
    for kind in ("intra", "inter"):
        # For real it can be told once in a process, before its first operation.
        name = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(tensorflow.config.threading, name, lambda threads, kind=kind: told.update({kind: threads}))

    monkeypatch.setattr(tensorflow_engine, "cpu_quota", lambda: None)
    open_engine(bundle, "tensorflow")
    assert told == {}
    # By itself, TensorFlow does not see what a container may use.
    monkeypatch.setattr(tensorflow_engine, "cpu_quota", lambda: 4.5)
    monkeypatch.setattr(tensorflow_engine, "available_cores", lambda: 5)
    open_engine(bundle, "tensorflow")
    assert told == {"intra": 5, "inter": 5}
    open_engine(bundle, "tensorflow", threads=3)
    assert told == {"intra": 3, "inter": 3}


def test_embeddings_are_what_the_head_takes_in_and_probabilities_stay_bit_for_bit(
    bundle: Bundle, pixels: NDArray[np.uint8], one_by_one: NDArray[np.float32], tensorflow: Any
) -> None:
    opened = open_engine(bundle, embeds=True)
    assert isinstance(opened, LiteRTEngine)
    probabilities, embeddings = opened.embed(pixels)
    np.testing.assert_array_equal(probabilities, one_by_one)
    assert embeddings.shape == (len(pixels), embedding_size(bundle.read(LITERT_MODEL)))
    interpreter = tensorflow.lite.Interpreter(model_content=bundle.read(LITERT_MODEL))
    weights, bias = head_of(interpreter)
    logits = embeddings @ weights.T + bias
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), probabilities, atol=1e-5)


def head_of(interpreter: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read weights and bias of the last dense layer, by the shapes that no other tensor of the file has."""
    interpreter.allocate_tensors()
    constants = [step["inputs"][1:] for step in interpreter._get_ops_details() if step["op_name"] == "FULLY_CONNECTED"]
    weights, bias = (interpreter.get_tensor(index) for index in constants[-1])
    return weights, bias


def test_an_int8_model_embeds_too(int8_bundle: Bundle, pixels: NDArray[np.uint8]) -> None:
    opened = LiteRTEngine(int8_bundle.read(LITERT_MODEL), embeds=True)
    probabilities, embeddings = opened.embed(pixels)
    np.testing.assert_array_equal(probabilities, open_engine(int8_bundle).predict(pixels))
    assert embeddings.shape == (len(pixels), embedding_size(int8_bundle.read(LITERT_MODEL)))
    assert np.ptp(embeddings, axis=0).max() > 0.1, "features of different images would be the same"


def test_tensorflow_embeds_nothing(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"^engine tensorflow computes no embeddings; use --engine litert for"):
        check_engine(bundle, "tensorflow", embeds=True)

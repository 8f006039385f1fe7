"""Nothing in the file of a model is run: what would have to be is refused by name, in one line."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from model.foreign import keras_2
from model.foreign.litert_graph import LiteRTGraph
from model.foreign.opening import open_original
from model.foreign.original import Wanted
from pipelines.errors import ScenetagsError
from pipelines.inference import openvino_runtime
from tests.model.foreign import models

pytestmark = pytest.mark.usefixtures("tensorflow")


def reason(path: Path) -> str:
    with pytest.raises(ScenetagsError) as refused:
        open_original(path, Wanted(len(models.LABELS), None))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def with_layer(foreign: Path, target: Path, layer: dict[str, Any]) -> Path:
    """Copy a Keras file with a layer added."""
    with zipfile.ZipFile(foreign / "tutorial.keras") as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"].append(layer)
                content = json.dumps(config).encode()
            copy.writestr(name, content)
    return target


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        ({"class_name": "Lambda", "module": "keras.layers", "config": {}}, "a Lambda layer or function"),
        ({"class_name": "Mine", "module": "evil", "registered_name": "evil>Mine", "config": {}}, "Mine is not one of"),
        ({"class_name": "Own", "module": None, "registered_name": "Own", "config": {}}, "Own is not one of"),
        ({"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {}}, "a TorchModuleWrapper layer"),
        (
            {"class_name": "Dense", "config": {"activation": {"class_name": "function", "config": "get_file"}}},
            "a get_file layer or function",
        ),
    ],
)
def test_code_in_a_keras_file_is_refused(foreign: Path, tmp_path: Path, layer: dict[str, Any], named: str) -> None:
    told = reason(with_layer(foreign, tmp_path / "model.keras", layer))
    assert f"model.keras: {'it has ' * named.startswith('a ')}{named}" in told


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    for name in ("model.pt", "model.onnx"):
        (tmp_path / name).write_bytes(pickle.dumps({"weights": 1}))
        assert "a pickle, which runs code when it is loaded; export it as ONNX" in reason(tmp_path / name)


@pytest.mark.parametrize("name", ["tutorial.keras", "keras_2.h5", "float.tflite"])
def test_damaged_files_are_refused(foreign: Path, tmp_path: Path, name: str) -> None:
    content = (foreign / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 3])
    assert name in reason(tmp_path / name)


def test_custom_operations_of_litert_are_named(foreign: Path, tmp_path: Path) -> None:
    import flatbuffers

    graph = LiteRTGraph((foreign / "float.tflite").read_bytes())
    code = graph.model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"FlexWriteFile"
    builder = flatbuffers.Builder(0)
    builder.Finish(graph.model.Pack(builder), file_identifier=b"TFL3")
    (tmp_path / "model.tflite").write_bytes(bytes(builder.Output()))
    assert "model.tflite has the custom operation FlexWriteFile" in reason(tmp_path / "model.tflite")


def test_a_saved_model_that_writes_a_file_is_not_loaded(tmp_path: Path, tensorflow: Any) -> None:
    module, written = tensorflow.Module(), tmp_path / "written"

    def serve(pixels: Any) -> Any:
        tensorflow.io.write_file(str(written), "written")
        return tensorflow.reduce_mean(pixels, (1, 2)) @ tensorflow.ones((3, len(models.LABELS)))

    module.serve = tensorflow.function(serve, input_signature=[tensorflow.TensorSpec((None, 32, 32, 3))])
    tensorflow.saved_model.save(module, str(tmp_path / "hostile"))
    assert "WriteFile" in reason(tmp_path / "hostile")
    assert not written.exists()


def test_weights_outside_the_folder_of_an_onnx_file_are_not_read(tmp_path: Path) -> None:
    models.skip_without_openvino()
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install 'scenetags[test]'")
    inside = tmp_path / "inside"
    inside.mkdir()
    models.write_onnx(inside / "network.onnx", channels_first=True)
    model = onnx.load(inside / "network.onnx")
    weights = model.graph.initializer[0]
    (tmp_path / "secret.bin").write_bytes(weights.raw_data)
    onnx.external_data_helper.set_external_data(weights, "../secret.bin")
    weights.ClearField("raw_data")
    (inside / "network.onnx").write_bytes(model.SerializeToString())
    assert "outside the base directory" in reason(inside / "network.onnx")


def test_custom_operations_of_onnx_are_named(tmp_path: Path) -> None:
    models.skip_without_openvino()
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install 'scenetags[test]'")
    models.write_onnx(tmp_path / "network.onnx", channels_first=True)
    model = onnx.load(tmp_path / "network.onnx")
    model.graph.node[0].domain, model.graph.node[0].op_type = "evil.org", "Run"
    model.opset_import.append(onnx.helper.make_opsetid("evil.org", 1))
    (tmp_path / "network.onnx").write_bytes(model.SerializeToString())
    assert "No conversion rule found for operations: evil.org.Run" in reason(tmp_path / "network.onnx")


def test_onnx_where_openvino_is_broken_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.skip_without_openvino()

    def broken() -> None:
        raise ImportError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr(openvino_runtime, "load_core", broken)
    (tmp_path / "network.onnx").touch()
    assert reason(tmp_path / "network.onnx").startswith(
        "OpenVINO, which reads ONNX, cannot be imported (libopenvino.so"
    )


def test_calls_of_a_model_inside_another_are_numbered_as_in_keras_3() -> None:
    inner = {"class_name": "Functional", "name": "base", "config": {}, "inbound_nodes": [[["image", 0, 0, {}]]]}
    head = {"class_name": "Dense", "name": "head", "config": {}, "inbound_nodes": [[["base", 1, 0, {}]]]}
    outer = {"layers": [inner, head], "input_layers": [["image", 0, 0]], "output_layers": [["head", 0, 0]]}

    keras_2.mend({"class_name": "Functional", "config": outer})

    assert head["inbound_nodes"] == [[["base", 0, 0, {}]]]
    assert outer["output_layers"] == ["head", 0, 0]

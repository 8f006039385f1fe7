"""Models that would do more than compute are refused by name, unloaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.inference.bundle import LITERT_MODEL, SAVED_MODEL, BundleError, load_bundle
from pipelines.inference.engines import open_engine
from pipelines.inference.operations import check_litert, check_saved_model
from tests.pipelines.inference.sealed import assert_is_clear, rewrite_files

HARMFUL = (
    *("ReadFile", "WriteFile", "MatchingFiles", "ImmutableConst", "TFRecordDatasetV2", "TextLineDataset", "SqlDataset"),
    *("PyFunc", "PyFuncStateless", "EagerPyFunc", "PrintV2", "Print", "DebugIdentityV2", "WriteSummary", "Save"),
    *("Restore", "RestoreSlice", "LoadAndRemapMatrix", "InitializeTableFromTextFileV2", "DataServiceDatasetV4"),
    *("CollectiveReduceV2", "RemoteCall", "_Send", "XlaCallModule", "SymbolicGradient", "FileSystemSetConfiguration"),
    *("Abort", "SnapshotDatasetV2", "OpOfTheirOwn", ""),
)

Change = Callable[[Any], Any]


@pytest.fixture
def model(bundle_path: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(bundle_path, SAVED_MODEL), tmp_path / "saved_model"))


@pytest.fixture
def described(tensorflow: Any, model: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())


def assert_refused(model: Path, described: Any, reason: str) -> None:
    (model / "saved_model.pb").write_bytes(described.SerializeToString())
    with pytest.raises(BundleError, match=reason) as caught:
        check_saved_model(str(model), "this model")
    assert "\n" not in str(caught.value)


def function(described: Any, content: str) -> Any:
    """Find the first function with this in its name."""
    return next(function for function in library(described) if content in function.signature.name)


def library(described: Any) -> Any:
    return described.meta_graphs[0].graph_def.library.function


def test_what_training_exports_is_loaded(model: Path, tensorflow: Any) -> None:
    check_saved_model(str(model), "this model")


@pytest.mark.parametrize("operation", HARMFUL)
def test_an_operation_that_does_more_than_compute_is_refused_by_name(
    model: Path, described: Any, operation: str
) -> None:
    function(described, "_serve_").node_def.add(name="it", op=operation)
    assert_refused(model, described, rf"^this model has the operation {operation} \(in __inference_\w*serve_\w+\)")


def in_the_graph(described: Any) -> None:
    described.meta_graphs[0].graph_def.node.add(name="it", op="ReadFile")


def in_a_function_that_nothing_calls(described: Any) -> None:
    hidden = library(described).add()
    hidden.signature.name = "hidden"
    hidden.node_def.add(name="it", op="ReadFile")


def as_an_argument(described: Any) -> None:
    function(described, "_serve_").node_def.add(name="it", op="PartitionedCall").attr["f"].func.name = "ReadFile"


def as_one_of_several_branches(described: Any) -> None:
    node = function(described, "_serve_").node_def.add(name="it", op="Case")
    node.attr["branches"].list.func.add(name="ReadFile")


def as_an_argument_of_an_argument(described: Any) -> None:
    node = function(described, "_serve_").node_def.add(name="it", op="PartitionedCall")
    node.attr["f"].func.name = library(described)[0].signature.name
    node.attr["f"].func.attr["g"].func.name = "ReadFile"


def behind_a_function_of_the_same_name(described: Any) -> None:
    library(described).add().signature.name = "ReadFile"
    function(described, "_serve_").node_def.add(name="it", op="ReadFile")


@pytest.mark.parametrize(
    "change",
    [
        in_the_graph,
        in_a_function_that_nothing_calls,
        as_an_argument,
        as_one_of_several_branches,
        as_an_argument_of_an_argument,
        behind_a_function_of_the_same_name,
    ],
)
def test_an_operation_is_found_wherever_it_hides(model: Path, described: Any, change: Change) -> None:
    change(described)
    assert_refused(model, described, "has the operation ReadFile")


def saving_while_it_serves(described: Any) -> None:
    function(described, "_serve_").node_def.add(name="it", op="SaveV2")


def restoring_while_it_serves(described: Any) -> None:
    call = function(described, "_serve_").node_def.add(name="it", op="StatefulPartitionedCall")
    call.attr["f"].func.name = function(described, "traced_restore").signature.name


def saving_while_it_restores(described: Any) -> None:
    function(described, "traced_restore").node_def.add(name="it", op="MergeV2Checkpoints")


def saving_by_an_object(described: Any) -> None:
    saved = described.meta_graphs[0].object_graph_def.nodes.add()
    saved.bare_concrete_function.concrete_function_name = function(described, "traced_save").signature.name


def saving_as_initialization(described: Any) -> None:
    graph = described.meta_graphs[0]
    graph.collection_def["saved_model_main_op"].node_list.value[:] = [graph.saver_def.save_tensor_name]


def saving_as_a_signature(described: Any) -> None:
    graph = described.meta_graphs[0]
    graph.signature_def["more"].outputs["it"].name = graph.saver_def.save_tensor_name


def saving_before_it_serves(described: Any) -> None:
    graph = described.meta_graphs[0]
    graph.graph_def.node.add(name="it", op="NoOp").input.append("^" + graph.saver_def.save_tensor_name.split(":")[0])


def saving_beside_the_saver(described: Any) -> None:
    described.meta_graphs[0].graph_def.node.add(name="it", op="SaveV2")


@pytest.mark.parametrize(
    "change",
    [
        saving_while_it_serves,
        restoring_while_it_serves,
        saving_while_it_restores,
        saving_by_an_object,
        saving_as_initialization,
        saving_as_a_signature,
        saving_before_it_serves,
        saving_beside_the_saver,
    ],
)
def test_variables_are_read_and_written_by_the_saver_alone(model: Path, described: Any, change: Change) -> None:
    change(described)
    assert_refused(model, described, "has the operation (SaveV2|RestoreV2|MergeV2Checkpoints) ")


def test_a_second_graph_and_a_graph_of_tensorflow_1_are_refused(model: Path, described: Any) -> None:
    described.meta_graphs.add()
    assert_refused(model, described, "not a SavedModel of TensorFlow 2; export the model again")
    del described.meta_graphs[1]
    described.meta_graphs[0].ClearField("object_graph_def")
    assert_refused(model, described, "not a SavedModel of TensorFlow 2; export the model again")


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb"])
def test_a_second_form_of_the_graph_is_refused(model: Path, described: Any, name: str) -> None:
    (model / name).touch()
    assert_refused(model, described, f"this model contains {name}")


@pytest.mark.parametrize("content", [b"no graph", b"\xff" * 9])
def test_what_is_no_saved_model_is_refused(model: Path, tensorflow: Any, content: bytes) -> None:
    (model / "saved_model.pb").write_bytes(content)
    with pytest.raises(BundleError, match=r"is damaged: its saved_model\.pb is not a SavedModel"):
        check_saved_model(str(model), "this model")


def test_a_bundle_whose_model_writes_a_file_is_not_loaded(bundle_copy: Path, tensorflow: Any, tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Writer(tensorflow.Module):  # type: ignore[misc]
        @tensorflow.function(input_signature=[tensorflow.TensorSpec((None, 32, 32, 3), tensorflow.uint8)])  # type: ignore[untyped-decorator]
        def serve(self, pixels: Any) -> Any:
            tensorflow.io.write_file(str(trace), "here I was")
            return tensorflow.zeros((tensorflow.shape(pixels)[0], 3))

    writer = Writer()
    tensorflow.saved_model.save(writer, str(bundle_copy / SAVED_MODEL), signatures={"serve": writer.serve})
    rewrite_files(bundle_copy)
    with pytest.raises(
        BundleError, match=r"saved_model/ has the operation WriteFile .* runs with --engine litert"
    ) as caught:
        open_engine(load_bundle(str(bundle_copy)), "tensorflow")
    assert_is_clear(caught.value, bundle_copy)
    assert not trace.exists()


# LiteRT


def changed(bundle_path: str, change: Change) -> bytes:
    """Return the bundle's LiteRT file with its content changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    described = schema.ModelT.InitFromPackedBuf(Path(bundle_path, LITERT_MODEL).read_bytes(), 0)
    change(described)
    builder = flatbuffers.Builder()
    builder.Finish(described.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def custom(described: Any) -> None:
    code = described.operatorCodes[-1]
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = b"FlexReadFile"


def elsewhere(described: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    described.externalBufferGroups = [schema.ExternalBufferGroupT("/etc/passwd")]


def test_a_custom_operation_of_a_litert_file_is_refused_by_name(bundle_path: str, bundle_copy: Path) -> None:
    check_litert(Path(bundle_path, LITERT_MODEL).read_bytes(), "this model")
    (bundle_copy / LITERT_MODEL).write_bytes(changed(bundle_path, custom))
    rewrite_files(bundle_copy)
    for engine in ("litert", "openvino"):
        with pytest.raises(BundleError, match=r"model\.tflite has the custom operation FlexReadFile") as caught:
            open_engine(load_bundle(str(bundle_copy)), engine)
        assert_is_clear(caught.value, bundle_copy)


def test_a_litert_file_with_weights_elsewhere_is_refused(bundle_path: str) -> None:
    with pytest.raises(BundleError, match="this model has weights in other files"):
        check_litert(changed(bundle_path, elsewhere), "this model")


@pytest.mark.parametrize("content", [b"", b"TFL3", bytes(100), b"\x1c\0\0\0TFL3" + b"\xff" * 100])
def test_what_is_no_litert_file_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="this model is damaged: it is not a LiteRT file"):
        check_litert(content, "this model")

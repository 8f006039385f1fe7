"""Refuse models that could do more than compute: read or write files, reach the network, run Python.

A SavedModel is a program, and loading one already runs parts of it. Which operations reach out of TensorFlow changes
with every release, so those are listed that networks consist of, and all others are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipelines.inference.bundle_manifest import BundleError
from pipelines.supervision.machine import native_messages_muted

_COMPUTE = """
    Add AddN AddV2 BiasAdd BiasAddV1 Sub Mul MulNoNan Div DivNoNan RealDiv FloorDiv TruncateDiv FloorMod Mod TruncateMod
    Neg Abs Sign Square Sqrt Rsqrt Pow Exp Expm1 Log Log1p Xlogy Xdivy Xlog1py Reciprocal Inv SquaredDifference Maximum
    Minimum ClipByValue Ceil Floor Rint Round Sin Cos Tan Sinh Cosh Tanh Asin Acos Atan Atan2 Asinh Acosh Atanh Erf Erfc
    Erfinv Ndtri Lgamma Digamma LeftShift RightShift BitwiseAnd BitwiseOr BitwiseXor Invert
    Equal NotEqual Less LessEqual Greater GreaterEqual ApproximateEqual LogicalAnd LogicalOr LogicalNot IsNan IsInf
    IsFinite Select SelectV2 Where
    Sum Mean Prod Max Min All Any ArgMax ArgMin EuclideanNorm Cumsum Cumprod CumulativeLogsumexp TopK TopKV2 InTopK
    InTopKV2 Bincount DenseBincount Bucketize Unique UniqueV2 NthElement L2Loss SegmentSum SegmentMean SegmentMax
    UnsortedSegmentSum UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Cross MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPart
    MatrixDiagPartV2 MatrixDiagPartV3 MatrixBandPart MatrixInverse MatrixSolve MatrixSetDiag MatrixSetDiagV3 Diag

    Conv Conv2D Conv2DBackpropInput Conv2DBackpropFilter Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput DepthwiseConv2dNativeBackpropFilter Dilation2D AvgPool AvgPoolGrad AvgPool3D
    MaxPool MaxPoolV2 MaxPoolGrad MaxPool3D MaxPoolWithArgmax FractionalMaxPool FractionalAvgPool FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 FusedBatchNormGradV3 LRN Relu Relu6 LeakyRelu Elu Selu Softplus Softsign Softmax
    LogSoftmax Sigmoid SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits BiasAddGrad ReluGrad Relu6Grad
    LeakyReluGrad EluGrad SeluGrad SoftplusGrad SoftsignGrad SigmoidGrad TanhGrad RsqrtGrad SqrtGrad ReciprocalGrad
    BroadcastGradientArgs StridedSliceGrad MirrorPadGrad ResizeBilinearGrad ResizeNearestNeighborGrad
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel QuantizeV2 Dequantize
    QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 UniformQuantize UniformDequantize

    Cast Bitcast Const Identity IdentityN NoOp StopGradient PreventGradient EnsureShape Placeholder
    PlaceholderWithDefault Assert CheckNumerics Shape ShapeN Rank Size Reshape Squeeze ExpandDims Transpose
    ConjugateTranspose InvertPermutation Fill ZerosLike OnesLike OneHot Range LinSpace BroadcastTo BroadcastArgs Tile
    TileGrad Pack Unpack Concat ConcatV2 ConcatOffset Split SplitV Slice StridedSlice Reverse ReverseV2 ReverseSequence
    Roll Gather GatherV2 GatherNd ScatterNd TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate TensorStridedSliceUpdate DynamicStitch DynamicPartition Pad PadV2 MirrorPad SpaceToBatch
    SpaceToBatchND BatchToSpace BatchToSpaceND SpaceToDepth DepthToSpace ExtractImagePatches GuaranteeConst Empty
    DeepCopy

    AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize HSVToRGB RGBToHSV ImageProjectiveTransformV2
    ImageProjectiveTransformV3 ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
    NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 CombinedNonMaxSuppression

    RandomStandardNormal RandomUniform RandomUniformInt RandomShuffle TruncatedNormal Multinomial RngReadAndSkip RngSkip
    StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformV2 StatelessRandomUniformInt
    StatelessRandomUniformIntV2 StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessTruncatedNormal
    StatelessTruncatedNormalV2 StatelessMultinomial StatelessShuffle StatelessSampleDistortedBoundingBox
    StatefulStandardNormalV2 StatefulUniform StatefulUniformFullInt StatefulUniformInt StatefulTruncatedNormal

    PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case StatelessCase Switch Merge Enter
    Exit LoopCond NextIteration FakeParam TensorListReserve TensorListFromTensor TensorListGetItem TensorListSetItem
    TensorListStack TensorListGather TensorListScatter TensorListLength TensorListPushBack TensorListPopBack
    TensorListElementShape TensorListResize TensorListConcatV2 EmptyTensorList TensorArrayV3 TensorArrayReadV3
    TensorArrayWriteV3 TensorArraySizeV3 TensorArrayGatherV3 TensorArrayScatterV3 TensorArrayCloseV3 CudnnRNNV3

    VarHandleOp VarIsInitializedOp ReadVariableOp AssignVariableOp AssignAddVariableOp AssignSubVariableOp VariableShape
    DisableCopyOnRead ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate DestroyResourceOp

    StringJoin StaticRegexFullMatch ShardedFilename
    """
"""Operations that only compute, or keep the values of variables."""

_OPERATIONS = frozenset(_COMPUTE.split())

_READS_VARIABLES = "RestoreV2"
_SAVES_VARIABLES = frozenset({"SaveV2", "MergeV2Checkpoints"})
"""Each SavedModel has these three in functions of its own. Loading one runs none of them: TensorFlow's Python reads the
variables itself, and its C++ runs the function with the first."""

_CUSTOM = 32
_OTHER_FILES = (20, 22)
"""Of LiteRT's schema: the code of custom operations, and the fields that name files with weights."""

_OTHER_FORMS = ("saved_model.pbtxt", "saved_model.cpb")
"""Parts of TensorFlow would read these instead of, or together with, the file that is looked through."""


def check_saved_model(folder: str, name: str) -> None:
    """Refuse a SavedModel with an operation that may do more than compute. Needs TensorFlow.

    Args:
      folder: of the SavedModel, on this machine.
      name: how messages call the model.

    Raises:
      BundleError: it has such an operation, or cannot be looked through.
      OSError: it cannot be read.
    """
    from google.protobuf.message import DecodeError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_messages_muted():
        from tensorflow.core.protobuf import saved_model_pb2

    for other in _OTHER_FORMS:
        if os.path.lexists(os.path.join(folder, other)):
            raise BundleError(f"{name} contains {other}, which is not checked", "keep saved_model.pb alone")
    try:
        with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
            graphs = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    except DecodeError as error:
        raise BundleError(f"{name} is damaged: its saved_model.pb is not a SavedModel") from error
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise BundleError(f"{name} is not a SavedModel of TensorFlow 2", "export the model again with TensorFlow 2")
    _check_graph(graphs[0], name)


def check_litert(model: bytes, name: str) -> None:
    """Refuse a LiteRT file with operations that are not LiteRT's own, or with weights in other files.

    Args:
      model: the file's bytes.
      name: how messages call it.

    Raises:
      BundleError: it has some, or cannot be looked through.
    """
    try:
        if model[4:8] != b"TFL3":
            # OpenVINO would take it for whatever else it looks like.
            raise ValueError("not a LiteRT file")
        custom, elsewhere = _read_litert(model)
    except Exception as error:
        # Offsets that lead anywhere raise whatever reading there raises.
        raise BundleError(f"{name} is damaged: it is not a LiteRT file") from error
    if custom:
        raise BundleError(
            f"{name} has the custom operation {custom[0]}, which is not part of LiteRT",
            "convert the model again with LiteRT's own operations only",
        )
    if elsewhere:
        raise BundleError(f"{name} has weights in other files", "convert the model again into a single file")


def _check_graph(graph: Any, name: str) -> None:
    functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
    calls = {function: _named(nodes) for function, nodes in functions.items()}
    for place, used in [*calls.items(), ("the graph", _named(graph.graph_def.node))]:
        for operation in sorted(used):
            if not _is_harmless(operation, functions):
                raise _refusal(name, operation, place)
    reached = {function: _reach(function, calls) for function in functions}
    saver = graph.saver_def
    allowed = {
        _node(saver.save_tensor_name): _SAVES_VARIABLES,
        _node(saver.restore_op_name): frozenset({_READS_VARIABLES}),
    }
    asked_for = set(_asked_for(graph))
    for node in graph.graph_def.node:
        used = set[str]().union(*(reached.get(called, {called}) for called in _named([node])))
        alone = node.name not in asked_for
        _refuse_saving(name, used - allowed[node.name] if alone and node.name in allowed else used, node.name)
    for function in _run_by_objects(graph.object_graph_def):
        _refuse_saving(name, reached.get(function, {function}), function)


def _is_harmless(operation: str, functions: Mapping[str, Any]) -> bool:
    from tensorflow.python.framework import op_def_registry

    if operation in _OPERATIONS or operation in _SAVES_VARIABLES or operation == _READS_VARIABLES:
        return True
    # A function that bears the name of an operation might be taken for it.
    return operation in functions and op_def_registry.get(operation) is None


def _refuse_saving(name: str, used: Iterable[str], place: str) -> None:
    """Refuse to read or write variables anywhere but where loading and saving a model do."""
    for operation in sorted(used):
        if operation in _SAVES_VARIABLES or operation == _READS_VARIABLES:
            raise _refusal(name, operation, place)


def _asked_for(graph: Any) -> Iterator[str]:
    """Name the nodes that are run for something other than saving and restoring, or that such nodes take as input."""
    for signature in graph.signature_def.values():
        yield from (_node(output.name) for output in signature.outputs.values())
    for collection in graph.collection_def.values():
        yield from map(_node, collection.node_list.value)
    for node in graph.graph_def.node:
        yield from map(_node, node.input)


def _run_by_objects(objects: Any) -> Iterator[str]:
    """Name the functions that the model's objects call, some of them while they are loaded."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        if node.HasField("bare_concrete_function"):
            yield node.bare_concrete_function.concrete_function_name


def _named(nodes: Iterable[Any]) -> set[str]:
    """Name the operations and functions that nodes call, whether they are or only mention them."""
    names = set()
    for node in nodes:
        names.add(node.op)
        names.update(_mentioned(node.attr))
    return names


def _mentioned(attributes: Any) -> Iterator[str]:
    for value in attributes.values():
        for function in [*([value.func] if value.HasField("func") else []), *value.list.func]:
            yield function.name
            yield from _mentioned(function.attr)


def _reach(start: str, calls: Mapping[str, set[str]]) -> set[str]:
    """Name what a function calls, directly or through others."""
    reached, waiting = set[str](), [start]
    while waiting:
        for called in calls.get(waiting.pop(), set()) - reached:
            reached.add(called)
            waiting.append(called)
    return reached


def _node(tensor: str) -> str:
    """Return the node of a tensor `node:output` or `^node`."""
    return tensor.lstrip("^").partition(":")[0]


def _refusal(name: str, operation: str, place: str) -> BundleError:
    return BundleError(
        f"{name} has the operation {operation} (in {place}), which no network needs and which may reach files, the "
        "network or other programs",
        "export the model again without it; a bundle runs with --engine litert, which has no such operations",
    )


def _read_litert(model: bytes) -> tuple[list[str], bool]:
    """Return the custom operations of a LiteRT file, and whether it refers to other files."""
    from flatbuffers import number_types
    from flatbuffers.table import Table

    root = Table(model, 0)
    root.Pos = root.Indirect(0)
    custom = []
    # Fields have the offsets that LiteRT's schema gives them.
    codes = root.Offset(6)
    for number in range(root.VectorLen(codes) if codes else 0):
        code = Table(model, root.Indirect(root.Vector(codes) + 4 * number))
        # Codes below 127 are in the field of earlier versions.
        earlier = code.GetSlot(4, 0, number_types.Int8Flags)
        if max(earlier, code.GetSlot(10, 0, number_types.Int32Flags)) == _CUSTOM:
            named = code.Offset(6)
            custom.append(code.String(code.Pos + named).decode("utf-8", "backslashreplace") if named else "")
    return custom, any(root.Offset(field) for field in _OTHER_FILES)

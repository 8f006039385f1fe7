"""Let a LiteRT file return embeddings along with the probabilities: the features under its head."""

from __future__ import annotations

from typing import Any


def embedding_size(model: bytes) -> int:
    """Return the number of features that the head of a LiteRT file takes in.

    Raises:
      ValueError: it has no dense layer.
    """
    graph = _describe(model).subgraphs[0]
    return int(graph.tensors[graph.outputs[1]].shape[-1])


def expose_embeddings(model: bytes) -> bytes:
    """Return a LiteRT file whose second output is what its head takes in.

    The model computes that anyway, so it is no slower; and since it is found in the graph, every bundle has it. With a
    second output at export, earlier bundles would have none.

    Args:
      model: of a bundle: one graph, whose last dense layer is the head.

    Raises:
      ValueError: there is none.
    """
    import flatbuffers

    described = _describe(model)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(described.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _describe(model: bytes) -> Any:
    """Return the content of a file, with the input of its head as a second output."""
    from ai_edge_litert import schema_py_generated as schema

    described = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = described.subgraphs[0]
    dense = [step for step in graph.operators if _kind(described, step) == schema.BuiltinOperator.FULLY_CONNECTED]
    if not dense:
        raise ValueError("its graph has no dense layer, whose input would embed images")
    graph.outputs = [int(graph.outputs[0]), int(dense[-1].inputs[0])]
    # Signatures name the outputs, and are not used.
    described.signatureDefs = None
    return described


def _kind(described: Any, step: Any) -> int:
    code = described.operatorCodes[step.opcodeIndex]
    # Codes below 127 are in the field of earlier versions.
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))

"""Put scaling in front of the graph of a LiteRT file, and a sigmoid behind it; the rest stays as it is, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.foreign.scaling import STEPS, Scaling, Step

NUDGE = 2.0**-10
"""Added before rounding, in steps of an integer input: what lies halfway between two steps is rounded up on every
machine, where kernels differ and the last bit of a product would decide."""


class LiteRTGraph:
    """The graph of a LiteRT file, to be read and extended."""

    def __init__(self, model: bytes) -> None:
        """Parse a file, which has been looked through."""
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self.model = schema.ModelT.InitFromPackedBuf(model, 0)
        self._graph = self.model.subgraphs[0]
        self._names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}

    @property
    def computes_in_int8(self) -> bool:
        """Whether its layers pass on integers: tensors that are neither weights, inputs nor outputs."""
        kinds = (self._schema.TensorType.INT8, self._schema.TensorType.UINT8)
        tensors, ends = self._graph.tensors, {*self._graph.inputs, *self._graph.outputs}
        passed = {int(index) for step in self._graph.operators for index in step.outputs} - ends
        return any(tensors[index].type in kinds for index in passed)

    def last_operation(self, output: int) -> str:
        """Return the name of the operation that computes an output, whatever rounds or reshapes it after that."""
        tensor = int(self._graph.outputs[output])
        while step := next((step for step in self._graph.operators if tensor in step.outputs), None):
            name = self._name(step)
            if name not in ("DEQUANTIZE", "QUANTIZE", "RESHAPE"):
                return name
            tensor = int(step.inputs[0])
        return ""

    def first_factor(self) -> float | None:
        """Return the largest constant that the input is multiplied by before anything else; None if it is not."""
        source = int(self._graph.inputs[0])
        step = next((step for step in self._graph.operators if source in step.inputs), None)
        if step is None or self._name(step) != "MUL":
            return None
        [other] = [int(index) for index in step.inputs if int(index) != source] or [source]
        data = self.model.buffers[self._graph.tensors[other].buffer].data
        values = np.frombuffer(bytes(data), np.float32) if data is not None and len(data) % 4 == 0 else np.zeros(0)
        return float(np.abs(values).max()) if len(values) else None

    def wrap(self, output: int, labels: int, scaling: Scaling | None, *, sigmoid: bool) -> bytes:
        """Return a file from pixels uint8 [N, S, S, 3] to probabilities float32 [N, L].

        Args:
          output: index of the output to keep.
          labels: L.
          scaling: of the pixels; None if the graph takes them as they are.
          sigmoid: whether the output is logits.
        """
        import flatbuffers

        if scaling is not None:
            self._scale(scaling)
        self._graph.outputs = [self._finish(int(self._graph.outputs[output]), labels, sigmoid)]
        # Signatures name the inputs and outputs, and are not used.
        self.model.signatureDefs = None
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _scale(self, scaling: Scaling) -> None:
        """Compute the input from pixels."""
        kinds, builtin = self._schema.TensorType, self._schema.BuiltinOperator
        source = int(self._graph.inputs[0])
        tensor = self._graph.tensors[source]
        pixels = self._add_tensor("pixels", kinds.UINT8, like=tensor)
        value = self._add_tensor("values", kinds.FLOAT32, like=tensor)
        added = [self._step(builtin.CAST, [pixels], value, "CastOptions")]
        added[0].builtinOptions.inDataType, added[0].builtinOptions.outDataType = kinds.UINT8, kinds.FLOAT32
        steps = STEPS[scaling]
        if tensor.type != kinds.FLOAT32:
            steps += (Step("subtract", (-NUDGE * float(tensor.quantization.scale[0]),)),)
        for number, step in enumerate(steps):
            code, options = (builtin.DIV, "DivOptions") if step.operation == "divide" else (builtin.SUB, "SubOptions")
            scaled = self._add_tensor(f"scaled_{number}", kinds.FLOAT32, like=tensor)
            operand = self._add_constant(f"operand_{number}", step.values)
            added.append(self._step(code, [value, operand], scaled, options))
            value = scaled
        if tensor.type == kinds.FLOAT32:
            added[-1].outputs = [source]
        else:
            added.append(self._step(builtin.QUANTIZE, [value], source, "QuantizeOptions"))
        self._graph.inputs = [pixels]
        self._graph.operators = [*added, *self._graph.operators]

    def _finish(self, last: int, labels: int, sigmoid: bool) -> int:
        """Compute probabilities from an output; returns their tensor."""
        kinds, builtin = self._schema.TensorType, self._schema.BuiltinOperator
        if self._graph.tensors[last].type != kinds.FLOAT32:
            real = self._add_tensor("real", kinds.FLOAT32, like=self._graph.tensors[last])
            self._graph.operators.append(self._step(builtin.DEQUANTIZE, [last], real, "DequantizeOptions"))
            last = real
        if len(self._graph.tensors[last].shape) != 2:
            flat = self._add_tensor("flat", kinds.FLOAT32, like=self._graph.tensors[last])
            self._graph.tensors[flat].shape = [1, labels]
            self._graph.tensors[flat].shapeSignature = [-1, labels]
            shape = self._add_constant("flat_shape", (-1, labels), np.int32)
            self._graph.operators.append(self._step(builtin.RESHAPE, [last, shape], flat, "ReshapeOptions"))
            self._graph.operators[-1].builtinOptions.newShape = [-1, labels]
            last = flat
        if sigmoid:
            probabilities = self._add_tensor("probabilities", kinds.FLOAT32, like=self._graph.tensors[last])
            self._graph.operators.append(self._step(builtin.LOGISTIC, [last], probabilities))
            last = probabilities
        return last

    def _add_tensor(self, name: str, kind: int, like: Any) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = f"scenetags/{name}".encode(), kind, 0
        tensor.shape, tensor.shapeSignature, tensor.hasRank = list(like.shape), like.shapeSignature, True
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _add_constant(self, name: str, values: Sequence[float], kind: type = np.float32) -> int:
        array: NDArray[Any] = np.array(values, kind)
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor = self._schema.TensorT()
        types = self._schema.TensorType
        tensor.name, tensor.type = f"scenetags/{name}".encode(), types.FLOAT32 if kind is np.float32 else types.INT32
        tensor.buffer, tensor.shape, tensor.hasRank = len(self.model.buffers) - 1, [len(values)], True
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _step(self, code: int, inputs: list[int], output: int, options: str = "") -> Any:
        step = self._schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = self._code(code), inputs, [output]
        if options:
            step.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            step.builtinOptions = getattr(self._schema, f"{options}T")()
        return step

    def _code(self, code: int) -> int:
        added = self._schema.OperatorCodeT()
        # Codes below 127 are also in the field of earlier versions.
        added.builtinCode, added.deprecatedBuiltinCode, added.version = code, min(code, 127), 1
        self.model.operatorCodes.append(added)
        return len(self.model.operatorCodes) - 1

    def _name(self, step: Any) -> str:
        code = self.model.operatorCodes[step.opcodeIndex]
        return str(self._names[max(code.builtinCode, code.deprecatedBuiltinCode)])

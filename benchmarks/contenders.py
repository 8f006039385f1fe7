"""The contenders: `scenetags predict`, and the peers that do the same job."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Contender(NamedTuple):
    """A command that tags a list of images.

    Attributes:
      name: on the command line and in the JSON.
      title: in the table.
      command: with placeholders `{images}` (a file of paths), `{model}`, `{int8}` (the same, quantized) and `{output}`.
      requires: modules it needs.
      slow: whether it gets fewer images, because a round would take half an hour otherwise.
      goal: least factor by which `scenetags predict` should be faster.
      quantized: whether it runs the quantized model.
      bfloat16: whether it computes in bfloat16.
    """

    name: str
    title: str
    command: tuple[str, ...]
    requires: tuple[str, ...] = ()
    slow: bool = False
    goal: float | None = None
    quantized: bool = False
    bfloat16: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether its probabilities must agree with those of `scenetags predict`."""
        return not self.quantized and not self.bfloat16

    def filled(self, images: Path, model: str, int8: str, output: Path) -> list[str]:
        """Return the command with its placeholders filled in."""
        return [part.format(images=images, model=model, int8=int8, output=output) for part in self.command]

    def missing(self) -> list[str]:
        """Return the required modules that are not installed."""
        return [module for module in self.requires if importlib.util.find_spec(module) is None]


def _peer(
    name: str,
    title: str,
    requires: Sequence[str] = (),
    slow: bool = False,
    goal: float | None = None,
    bfloat16: bool = False,
) -> Contender:
    flags = ("--images={images}", "--model={model}", "--output={output}")
    command = (sys.executable, "-m", f"benchmarks.peers.{name}", *flags)
    return Contender(name, title, command, tuple(requires), slow, goal, bfloat16=bfloat16)


SCENETAGS = Contender(
    "scenetags",
    "scenetags predict",
    (
        *(sys.executable, "-m", "pipelines.cli", "predict", "--engine=litert", "--progress=off"),
        *("--input_list={images}", "--model={model}", "--output={output}"),
    ),
)

INT8 = Contender(
    "scenetags_int8",
    "scenetags predict, int8 bundle",
    tuple(part.replace("{model}", "{int8}") for part in SCENETAGS.command),
    quantized=True,
)

OPENVINO = Contender(
    "scenetags_openvino",
    "scenetags predict, OpenVINO",
    tuple(part.replace("litert", "openvino") for part in SCENETAGS.command),
    requires=("openvino",),
)

BFLOAT16 = Contender(
    "scenetags_bfloat16",
    "scenetags predict, bfloat16",
    (*OPENVINO.command, "--precision=bfloat16"),
    requires=("openvino",),
    bfloat16=True,
)

# Peers with tight goals come soonest after `scenetags predict` in a round, because the machine's speed drifts.
PEERS = (
    INT8,
    OPENVINO,
    BFLOAT16,
    _peer("threaded_loop_bfloat16", "hand-written loop, bfloat16", ["openvino"], bfloat16=True),
    _peer("threaded_loop", "hand-written loop, LiteRT"),
    _peer("daft_litert", "Daft, LiteRT", ["daft"], goal=1.15),
    _peer("ray_litert", "Ray Data, LiteRT", ["ray"], goal=2),
    _peer("daft_saved_model", "Daft, SavedModel", ["daft", "tensorflow"], slow=True, goal=3.5),
    _peer("ray_saved_model", "Ray Data, SavedModel", ["ray", "tensorflow"], slow=True, goal=3.5),
    _peer("beam_saved_model", "Beam RunInference, SavedModel", ["tensorflow"], slow=True, goal=4),
    _peer("keras_predict", "tf.data and Keras predict", ["tensorflow"], slow=True, goal=4),
)

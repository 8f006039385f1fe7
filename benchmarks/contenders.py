"""The contenders: `scenetags predict`, and the peers that do the same job."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Sequence
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
      against: name of the `scenetags predict` that it is compared with: the one with its engine and precision.
      is_exact: whether its probabilities must agree with those of `against`.
      quantized: whether it runs the quantized model.
      bfloat16: whether it computes in bfloat16.
    """

    name: str
    title: str
    command: tuple[str, ...]
    requires: tuple[str, ...] = ()
    slow: bool = False
    goal: float | None = None
    against: str = "scenetags"
    is_exact: bool = True
    quantized: bool = False
    bfloat16: bool = False

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
) -> Contender:
    flags = ("--images={images}", "--model={model}", "--output={output}")
    command = (sys.executable, "-m", f"benchmarks.peers.{name}", *flags)
    return Contender(name, title, command, tuple(requires), slow, goal)


def _with_openvino(name: str, title: str, requires: Sequence[str], goal: float) -> tuple[Contender, Contender]:
    """Describe a peer with our OpenVINO engine, in float32 and in bfloat16."""
    peer = _peer(f"{name}_openvino", f"{title}, OpenVINO", ["openvino", *requires], goal=goal)
    return peer._replace(against=OPENVINO.name), peer._replace(
        name=f"{name}_bfloat16",
        title=f"{title}, bfloat16",
        command=(*peer.command, "--precision=bfloat16"),
        against=BFLOAT16.name,
        bfloat16=True,
    )


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
    is_exact=False,
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
    is_exact=False,
    bfloat16=True,
)

LEVEL = 0.97
"""Nobody is much faster than the same engine and decoder in the threads of one process."""

_LOOP, _LOOP_BFLOAT16 = _with_openvino("threaded_loop", "hand-written loop", [], LEVEL)
_DAFT, _DAFT_BFLOAT16 = _with_openvino("daft", "Daft", ["daft"], LEVEL)
_RAY, _RAY_BFLOAT16 = _with_openvino("ray", "Ray Data", ["ray"], 1.5)

# Peers come soon after the `scenetags predict` that they are compared with, because the machine's speed drifts; those
# with tight goals soonest.
PEERS = (
    _peer("threaded_loop", "hand-written loop, LiteRT", goal=LEVEL),
    _peer("daft_litert", "Daft, LiteRT", ["daft"], goal=LEVEL),
    _peer("ray_litert", "Ray Data, LiteRT", ["ray"], goal=1.5),
    BFLOAT16,
    _LOOP_BFLOAT16,
    _DAFT_BFLOAT16,
    _RAY_BFLOAT16,
    OPENVINO,
    _LOOP,
    _DAFT,
    _RAY,
    INT8,
    _peer("daft_saved_model", "Daft, SavedModel", ["daft", "tensorflow"], slow=True, goal=2),
    _peer("ray_saved_model", "Ray Data, SavedModel", ["ray", "tensorflow"], slow=True, goal=2),
    _peer("beam_saved_model", "Beam RunInference, SavedModel", ["tensorflow"], slow=True, goal=2),
    _peer("keras_predict", "tf.data and Keras predict", ["tensorflow"], slow=True, goal=2),
)


def with_opponents(names: Collection[str]) -> list[Contender]:
    """Return these peers, and what they are compared with."""
    opponents = {peer.against for peer in PEERS if peer.name in names}
    return [peer for peer in PEERS if peer.name in names or peer.name in opponents]

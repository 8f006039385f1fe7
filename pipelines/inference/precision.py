"""Choose the precision of a run that left it open."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

from pipelines.inference.bundle import Bundle, BundleError
from pipelines.inference.engines import INSTALL_OPENVINO
from pipelines.inference.gpu import tensorflow_has_gpu
from pipelines.inference.processor import bfloat16_units


class Choice(NamedTuple):
    """The precision of a run that left it open.

    Attributes:
      precision: one of `PRECISIONS`.
      reason: why it is not bfloat16, for which the processor has units; empty if it is, or this machine is not for it.
      is_fault: whether something is broken, and not just missing.
    """

    precision: str
    reason: str = ""
    is_fault: bool = False

    def __str__(self) -> str:
        """Say what was chosen, and why."""
        why = f"{', since' if self.is_fault else ';'} {self.reason}" if self.reason else ""
        return f"--precision auto computes in {self.precision}{why}"

    @property
    def severity(self) -> str:
        """Its severity in a log."""
        return "WARNING" if self.is_fault else "INFO"


def choose_precision(engine: str, bundle: Bundle, attempt: Callable[[str], object]) -> Choice:
    """Choose the precision of a run on this machine that left it open: bfloat16 if it can, and nothing speaks for less.

    Args:
      engine: one of `ENGINES`.
      bundle: the model.
      attempt: opens the engine in a precision.

    Raises:
      BundleError: the engine refuses the bundle in float32, too.
    """
    if lacks_openvino(engine, bundle):
        return Choice("float32", f"bfloat16 needs OpenVINO: {INSTALL_OPENVINO}")
    if not can_bfloat16(engine, bundle):
        return Choice("float32")
    try:
        attempt("bfloat16")
    except BundleError as error:
        # If this fails as well, e.g. since the bundle is damaged, it is what the user has to know.
        attempt("float32")
        return Choice("float32", error.message, is_fault=True)
    return Choice("bfloat16")


def can_bfloat16(engine: str, bundle: Bundle) -> bool:
    """Return whether this machine can run a bundle in bfloat16, and has no GPU that would run it in float32.

    Whether OpenVINO works, and computes what it should, only opening it says.

    Args:
      engine: one of `ENGINES`.
      bundle: the model.
    """
    return _is_openvino_installed() and _may_bfloat16(engine, bundle)


def lacks_openvino(engine: str, bundle: Bundle) -> bool:
    """Return whether this machine could run a bundle in bfloat16 if only OpenVINO were installed."""
    return not _is_openvino_installed() and _may_bfloat16(engine, bundle)


def _may_bfloat16(engine: str, bundle: Bundle) -> bool:
    if bundle.is_int8 or not bfloat16_units():
        return False
    return engine == "openvino" or (engine == "auto" and not (bundle.has_saved_model and tensorflow_has_gpu()))


def _is_openvino_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None

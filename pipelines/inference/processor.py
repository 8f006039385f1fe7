"""What the processor of this machine has for the arithmetic of a model."""

from __future__ import annotations

import platform
from pathlib import Path

from pipelines.inference.openvino_runtime import load_core

_PROCESSOR = Path("/proc/cpuinfo")

AMX, AVX512 = "AMX matrix units", "AVX-512 vector instructions"
"""What processors have for bfloat16."""

_UNITS = (("amx_bf16", AMX), ("avx512_bf16", AVX512))
"""Linux's names for them; the faster ones first."""

_OTHERS = (("avx512f", "AVX-512"), ("avx2", "AVX2"))
"""What processors without it have at best."""


def bfloat16_units() -> str:
    """Name the units of this processor with which OpenVINO computes in bfloat16; empty if it has none.

    Both the system and OpenVINO must know of them. A virtual machine may hide them from the one and not from the other,
    and a run that began by the answer of one would not resume by that of the other. Where OpenVINO cannot be loaded,
    the system's answer counts.
    """
    units = flagged_units()
    # Loading OpenVINO takes 0.1 s.
    return units if units and _openvino_has_units() else ""


def flagged_units(processor: Path = _PROCESSOR) -> str:
    """Name the units for bfloat16 that Linux says this processor has; empty if it has none, or for other systems."""
    return next((name for flag, name in _UNITS if flag in _flags(processor)), "")


def describe_without_units() -> str:
    """Describe this processor for a message that it has no units for bfloat16."""
    return describe_processor() + ", not usable by OpenVINO" * bool(flagged_units())


def describe_processor(processor: Path = _PROCESSOR) -> str:
    """Return the processor's name and the best of its units that matter to a model."""
    model = _field(processor, "model name") or platform.processor() or platform.machine()
    units = next((name for flag, name in (*_UNITS, *_OTHERS) if flag in _flags(processor)), "")
    return f"{model}, {units}" if units else model


def _openvino_has_units() -> bool:
    try:
        return "BF16" in load_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except Exception:
        # It is not installed, or broken in whatever way; opening the engine says which.
        return True


def _flags(processor: Path) -> set[str]:
    return set(_field(processor, "flags").split())


def _field(processor: Path, name: str) -> str:
    """Return a field of the first processor in Linux's description of them all; empty if there is none."""
    try:
        lines = processor.read_text().splitlines()
    except OSError:
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for field, _, value in fields if field.strip() == name), "")

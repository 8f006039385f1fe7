"""What the processor of this machine has for the arithmetic of a model."""

from __future__ import annotations

import platform
from pathlib import Path

_PROCESSOR = Path("/proc/cpuinfo")

AMX, AVX512 = "AMX matrix units", "AVX-512 vector instructions"
"""What processors have for bfloat16."""

_UNITS = (("amx_bf16", AMX), ("avx512_bf16", AVX512))
"""Linux's names for them; the faster ones first."""

_OTHERS = (("avx512f", "AVX-512"), ("avx2", "AVX2"))
"""What processors without it have at best."""


def bfloat16_units(processor: Path = _PROCESSOR) -> str:
    """Name the units of this processor that compute in bfloat16; empty if it has none, or the system does not say."""
    return next((name for flag, name in _UNITS if flag in _flags(processor)), "")


def describe_processor(processor: Path = _PROCESSOR) -> str:
    """Return the processor's name and the best of its units that matter to a model."""
    model = _field(processor, "model name") or platform.processor() or platform.machine()
    units = next((name for flag, name in (*_UNITS, *_OTHERS) if flag in _flags(processor)), "")
    return f"{model}, {units}" if units else model


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

"""Whether this machine has a GPU for a model."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from pipelines.supervision.machine import native_messages_muted

_DEVICES = Path("/dev")
_GPUS = ("nvidia[0-9]*", "nvhost-gpu", "dxg", "kfd")
"""Files of GPUs: of CUDA, of which a container may have any number, on small boards, in WSL 2; and of ROCm."""


def tensorflow_has_gpu() -> bool:
    """Return whether TensorFlow can use a GPU: only it can say, but its import takes seconds, so look for one first."""
    found = any(path for pattern in _GPUS for path in _DEVICES.glob(pattern))
    if not found or importlib.util.find_spec("tensorflow") is None:
        return False
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_messages_muted():
        try:
            import tensorflow as tf
        except ImportError:
            return False
        return bool(tf.config.list_physical_devices("GPU"))

"""Run a bundle's SavedModel with TensorFlow, which can use a GPU."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from pipelines.supervision.machine import available_cores, cpu_quota, native_messages_muted

_LACK_OF_MEMORY = ("out of memory", "No algorithm worked", "ALLOC_FAILED")
"""By which other errors of TensorFlow's show that CUDA or cuDNN had too little of a GPU's memory."""


class TensorFlowEngine:
    """The `serve` signature of a SavedModel, on a GPU if TensorFlow finds one.

    In full float32: in TF32, TensorFlow's default on an H100, probabilities differ by 0.01 from those of other machines
    and miss the golden ones, and a MobileNetV2 is no faster.
    """

    name = "tensorflow"
    takes_batches = True

    def __init__(self, folder: str, threads: int | None = None) -> None:
        """Load a SavedModel.

        Args:
          folder: on this machine; may be deleted afterwards.
          threads: cores per operation; by default all that may be used. The first engine of a process decides.
        """
        if threads is None and cpu_quota() is not None:
            # TensorFlow takes all cores that the process may run on.
            threads = available_cores()
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with native_messages_muted():
            import tensorflow as tf

            if threads and tf.config.threading.get_intra_op_parallelism_threads() != threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
            tf.config.experimental.enable_tensor_float_32_execution(False)
            gpus = tf.config.list_physical_devices("GPU")
            self.on_gpu = bool(gpus)
            for gpu in gpus:
                # A process that has used the GPU already may no longer choose.
                with suppress(RuntimeError):
                    tf.config.experimental.set_memory_growth(gpu, True)
            # On a GPU, one batch is copied there while another is computed. On a CPU, one keeps all cores busy.
            self.calls = 2 if self.on_gpu else 1
            # The model owns the variables that its signature uses; without this reference, both would be collected.
            self._model = tf.saved_model.load(folder)
        self._tensorflow = tf
        self._serve = self._model.signatures["serve"]

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the probabilities of a batch; see `Engine.predict`."""
        try:
            [probabilities] = self._serve(self._tensorflow.constant(np.asarray(pixels))).values()
            array: NDArray[np.float32] = probabilities.numpy()
        except self._tensorflow.errors.OpError as error:
            exhausted = isinstance(error, self._tensorflow.errors.ResourceExhaustedError)
            if exhausted or any(sign in error.message for sign in _LACK_OF_MEMORY):
                raise MemoryError(error.message) from error
            raise
        return array

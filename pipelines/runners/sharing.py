"""Decide how many processes of this machine share the images of a local run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import UsageError
from pipelines.inference.engines import choose_engine
from pipelines.inference.gpu import tensorflow_has_gpu
from pipelines.job.pipeline import TagImages
from pipelines.job.predictor_process import Settings
from pipelines.job.processes import in_processes, share_out
from pipelines.reading.source import stream_of
from pipelines.records import ImageRef
from pipelines.runners.waves import Waves
from pipelines.supervision.machine import available_cores

_CORES, _CORES_OF_FAST = 8, 4
"""That one process keeps busy, in float32 and where the model takes half of that time; see docs/speed.md."""
_IMAGES = 2_000
"""That pay for the start of a process, which takes a second of a core."""
_SAMPLE = 100
"""Images by which it is judged whether several processes can share them."""

_log = logging.getLogger(__name__)


def most_processes(tagging: TagImages, options: PredictOptions) -> int:
    """Return how many processes a run has, or, if that is left open, how many the cores would keep busy at most.

    Raises:
      UsageError: the engine is none for several.
    """
    run = tagging.run
    if options.processes == 1 or tagging.limits.isolated:
        return 1
    if choose_engine(run.bundle, options.engine, options.embeddings, run.precision) == "tensorflow":
        if options.processes and not tensorflow_has_gpu():
            raise UsageError(
                f"--processes {options.processes}: without a GPU, TensorFlow keeps all cores busy in one process",
                "omit --processes, or use --engine litert",
            )
        # Each takes gigabytes of a GPU's memory, and of that nothing is known here.
        return options.processes or 1
    cores = _CORES_OF_FAST if run.bundle.is_int8 or run.precision == "bfloat16" else _CORES
    return options.processes or max(1, _threads(options) // cores)


def share_threads(most: int, options: PredictOptions, waves: Waves) -> list[int]:
    """Return the threads of each process: of as many as `most_processes` says, or fewer if the images need fewer."""
    count = most
    if options.processes is None:
        # What is read together is read by one process.
        streams = {stream_of(item) or item.path for item in waves.sample(_SAMPLE) if isinstance(item, ImageRef)}
        count = max(1, min(most, waves.expected // _IMAGES, len(streams)))
    return share_out(max(_threads(options), count), count)


def sharing(tagging: TagImages, options: PredictOptions, shares: Sequence[int]) -> AbstractContextManager[None]:
    """Have several processes read and predict, if there are to be several, until the block ends."""
    if len(shares) == 1:
        return nullcontext()
    _log.info("%d processes share the images, with %d threads in all", len(shares), sum(shares))
    settings = Settings(
        tagging.predicting, len(shares), options.beam_flags, options.log_format, verbose=options.verbose
    )
    return in_processes(settings, shares)


def _threads(options: PredictOptions) -> int:
    return options.threads or available_cores()

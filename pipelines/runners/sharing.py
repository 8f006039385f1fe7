"""Decide how many processes of this machine share the images of a local run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import UsageError
from pipelines.inference.engines import choose_engine
from pipelines.job.process import Settings
from pipelines.job.processes import in_processes, share_out
from pipelines.job.tagging import TagImages
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


def share_threads(tagging: TagImages, options: PredictOptions, waves: Waves) -> list[int]:
    """Return the threads of each process that reads and predicts: of one, or of several child processes.

    Raises:
      UsageError: the engine is none for several.
    """
    run, threads = tagging.run, options.threads or available_cores()
    if options.processes == 1 or tagging.limits.isolated:
        return [threads]
    is_one = choose_engine(run.bundle, options.engine, options.embeddings, run.precision) == "tensorflow"
    if options.processes is None:
        cores = _CORES_OF_FAST if run.bundle.is_int8 or run.precision == "bfloat16" else _CORES
        return share_out(threads, 1 if is_one else count_processes(threads // cores, waves))
    if is_one:
        raise UsageError(
            f"--processes {options.processes}: TensorFlow has found a GPU, and one process keeps it busy",
            "omit --processes, or use --engine litert",
        )
    return share_out(max(threads, options.processes), options.processes)


def count_processes(most: int, waves: Waves) -> int:
    """Return how many processes are worth their start, given the images and the most that the cores would keep busy."""
    # What is read together is read by one process.
    streams = {stream_of(item) or item.path for item in waves.sample(_SAMPLE) if isinstance(item, ImageRef)}
    return max(1, min(most, waves.expected // _IMAGES, len(streams)))


def sharing(tagging: TagImages, options: PredictOptions, shares: Sequence[int]) -> AbstractContextManager[None]:
    """Have several processes read and predict, if there are to be several, until the block ends."""
    if len(shares) == 1:
        return nullcontext()
    _log.info("%d processes share the images, with %d threads in all", len(shares), sum(shares))
    settings = Settings(
        *(tagging.decoding, tagging.limits, tagging.model, tagging.reads_in_flight),
        processes=len(shares),
        grid=tagging.run.grid,
        beam_flags=options.beam_flags,
        log_format=options.log_format,
        verbose=options.verbose,
    )
    return in_processes(settings, shares)

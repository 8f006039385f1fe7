"""The child's side of `child`: read images, run the model on them, and send back what becomes of them.

A child ends with its parent, even in the middle of an image.
"""

from __future__ import annotations

import copy
import gc
import os
import queue
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from pipelines.commandline.printing import log_libraries, use_log_format
from pipelines.images.decoder_process import die_with
from pipelines.job.predicting import PredictSettings
from pipelines.reading.queues import Queue
from pipelines.records import Empty, Failure, ImageRef, Prediction
from pipelines.supervision import interruption
from pipelines.supervision.watchdog import leave_trace


class Settings(NamedTuple):
    """What a child needs to know before the first image.

    Attributes:
      predicting: how it reads and predicts; the threads are those of one child.
      processes: number of children, which share the memory for images.
      beam_flags: Beam's own flags, for its file systems.
      log_format: how messages are printed.
      verbose: whether to print more of them.
    """

    predicting: PredictSettings
    processes: int
    beam_flags: tuple[str, ...] = ()
    log_format: str = "text"
    verbose: bool = False


class Stop(NamedTuple):
    """The request to finish what is in progress.

    Attributes:
      number: of the signal that asked the run to stop.
      at: when it came, by the monotonic clock; what takes longer than `interruption.SECONDS_TO_FINISH` is abandoned.
    """

    number: int
    at: float


class Answer(NamedTuple):
    """What has become of a few images.

    Attributes:
      results: in the order of the images.
      postponed: number of images that have none, because the run was asked to stop.
    """

    results: Sequence[Prediction | Failure | Empty]
    postponed: int


def main() -> None:
    """Work on incoming images until the parent ends this process."""
    descriptor, trace, parent = map(int, sys.argv[1:])
    die_with(parent)
    leave_trace(trace)
    _pass_on_limit(parent)
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        settings = connection.recv()
    except (EOFError, OSError):
        # The parent has ended, or given this process up.
        return
    try:
        ahead = _prepare(settings)
        names: queue.SimpleQueue[Sequence[ImageRef]] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(connection, names), daemon=True).start()
        _work(connection, ahead, names)
    except BaseException as error:
        _send_error(connection, error)


def _pass_on_limit(parent: int) -> None:
    """Have the parent stop the run as soon as this process has used up its time on the processor (`ulimit -S -t`)."""

    def pass_on(number: int, _: FrameType | None) -> None:
        if os.getppid() == parent:
            os.kill(parent, number)

    # One that is ignored stays so.
    if signal.getsignal(signal.SIGXCPU) != signal.SIG_IGN:
        signal.signal(signal.SIGXCPU, pass_on)
        # Blocked until now, since it would have killed this process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGXCPU,))


def _prepare(settings: Settings) -> Queue[Prediction]:
    use_log_format(settings.log_format)
    log_libraries(settings.verbose)
    if settings.beam_flags:
        _configure_beam(settings.beam_flags)
    ahead = settings.predicting.start(settings.processes)
    # All that exists by now stays.
    gc.freeze()
    return ahead


def _configure_beam(flags: Sequence[str]) -> None:
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    FileSystems.set_options(PipelineOptions(list(flags)))


def _listen(connection: Connection[Any, Any], names: queue.SimpleQueue[Sequence[ImageRef]]) -> NoReturn:
    """Take what the parent sends at any time: the main thread may be waiting for an image that takes long."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            # The parent has ended.
            os._exit(0)
        if isinstance(message, Stop):
            interruption.pass_on(*message)
        else:
            names.put(message)


def _work(
    connection: Connection[Any, Any], ahead: Queue[Prediction], names: queue.SimpleQueue[Sequence[ImageRef]]
) -> None:
    """Answer each message of names with as many results, in order but for failures, and work on later names meanwhile.

    In batches, the answer to one message may have to wait for names of the next.
    """
    begun: deque[int] = deque()
    results: list[Prediction | Failure | Empty] = []
    while True:
        while not ahead.is_full:
            try:
                refs = names.get(block=ahead.is_empty)
            except queue.Empty:
                break
            for ref in refs:
                ahead.begin(ref)
            begun.append(len(refs))
        results += ahead.next()
        while begun and len(results) + ahead.postponed >= begun[0]:
            count = begun.popleft()
            answered, results = results[:count], results[count:]
            connection.send(Answer(answered, count - len(answered)))
            ahead.postponed -= count - len(answered)


def _send_error(connection: Connection[Any, Any], error: BaseException) -> None:
    """Send an error, with the traceback of this process, for the parent to raise if it is still there."""
    told = "".join(traceback.format_exception(error))
    error.add_note(told)
    try:
        # Some cannot be made again there, and some cannot be sent.
        copy.copy(error)
        connection.send(error)
    except Exception:
        with suppress(OSError):
            connection.send(RuntimeError(told))

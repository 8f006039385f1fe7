"""Read images and run the model on them in child processes of this one, each with its share of the cores.

Python runs one thread at a time, so one process keeps only so many cores busy. Names of images go to the children, and
predictions come back; pixels stay where they were decoded. `process` is the child's side. Both sides trust each other:
a child does what this process would otherwise do itself, with the same rights.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines.errors import ExitCode, ScenetagsError
from pipelines.images.isolation import block_signals
from pipelines.inference.ahead import IMAGES_PER_CALL
from pipelines.job.process import Answer, Settings, Stop
from pipelines.reading.source import stream_of
from pipelines.records import Empty, Failure, ImageRef, Prediction
from pipelines.supervision import interruption, watchdog

CHILD = "pipelines.job.process"
"""The module whose `main` a child runs."""

_AT_ONCE = 32
"""Images that a child is sent at once: so many that messages cost little, so few that no child waits for another."""
_STREAMS = 10_000
"""Archives and parts of scenes of which it is remembered which child reads them."""
_SECONDS_BETWEEN_LOOKS = 0.5
"""While a child is waited for, between looks at whether the run was asked to stop."""
_SECONDS_TO_ANSWER = 1.0
"""Of those that a run has to finish, left to a child to send what it has finished."""


class ProcessDiedError(ScenetagsError):
    """A child has ended before its work was done."""

    exit_code = ExitCode.STOPPED


class Processes:
    """Child processes that read images and run the model on them."""

    def __init__(self, settings: Settings, threads: Sequence[int]) -> None:
        """Prepare the children, which start when there is an image for them.

        Args:
          settings: of each child, but for the threads of its model.
          threads: of each child.
        """
        # The kernel kills a child when the thread that started it ends, so none of the callers' threads may do it.
        self._starter = ThreadPoolExecutor(1, "processes", block_signals)
        self._settings = settings
        self._threads = threads
        self._children: list[_Child] = []
        self._streams: OrderedDict[str, _Child] = OrderedDict()
        self._choosing = threading.Lock()
        # Twice what the children have begun to work on, so that none of them ever waits for names.
        self.most = sum(4 * settings.reads_in_flight + 2 * IMAGES_PER_CALL * count + _AT_ONCE for count in threads)

    def choose(self, stream: str | None) -> _Child:
        """Return the child for an image: that which reads its stream already, or else the one with least to do.

        Raises:
          ProcessDiedError: the system refuses to start one.
        """
        with self._choosing:
            if not self._children:
                self._start()
            child = self._streams.pop(stream, None) if stream else None
            child = child or min(self._children, key=lambda child: child.images)
            if stream:
                self._streams[stream] = child
                if len(self._streams) > _STREAMS:
                    self._streams.popitem(last=False)
            return child

    def _start(self) -> None:
        try:
            for count in self._threads:
                own = self._settings._replace(model=replace(self._settings.model, threads=count))
                self._children.append(_Child(own, self._starter))
        except OSError as error:
            raise ProcessDiedError(
                f"the system refuses to start another process ({error.strerror or error})", "lower --processes"
            ) from error

    def heed_signals(self) -> None:
        """Ask the children to stop if the run was asked to."""
        if received := interruption.received():
            number, at = received
            for child in self._children:
                child.stop(Stop(number, at - _SECONDS_TO_ANSWER))

    def close(self) -> None:
        """End the children, whatever they do."""
        for child in self._children:
            child.end()
        self._starter.shutdown()


class PredictInProcesses:
    """A queue that takes names and yields the predictions for their images in the same order; see `PredictAhead`.

    Attributes:
      postponed: images that were neither finished nor refused.
    """

    def __init__(self, processes: Processes) -> None:
        """Begin with an empty queue; `processes` do the work, and stay open."""
        self.postponed = 0
        self._processes = processes
        self._queue: deque[_Chunk] = deque()
        self._images = 0
        self._open: _Chunk | None = None

    def put(self, ref: ImageRef) -> Iterator[Prediction | Failure | Empty]:
        """Begin to work on an image; once the queue is full, yield the results of some that were put earlier."""
        stream = stream_of(ref)
        child = self._processes.choose(stream) if stream else None
        if self._open and (len(self._open.refs) == _AT_ONCE or child not in (None, self._open.child)):
            self._send()
        if self._open is None:
            self._open = _Chunk(child or self._processes.choose(None))
            self._queue.append(self._open)
        self._open.refs.append(ref)
        self._images += 1
        if self._images > self._processes.most:
            yield from self._next()

    def drain(self) -> Iterator[Prediction | Failure | Empty]:
        """Yield the remaining results."""
        self._send()
        while self._queue:
            yield from self._next()

    def close(self) -> None:
        """Let go of what is in the queue; the children are ended by what started them."""
        self._queue.clear()

    def _send(self) -> None:
        if self._open:
            self._open.child.work_on(self._open)
            self._open = None

    def _next(self) -> Iterator[Prediction | Failure | Empty]:
        chunk = self._queue.popleft()
        self._processes.heed_signals()
        while not chunk.answer.done() and not interruption.overdue():
            wait((chunk.answer,), _SECONDS_BETWEEN_LOOKS)
            self._processes.heed_signals()
        self._images -= len(chunk.refs)
        answer = chunk.answer.result() if chunk.answer.done() else Answer((), len(chunk.refs))
        self.postponed += answer.postponed
        yield from answer.results


class _Chunk:
    """A few images for a child, and what becomes of them."""

    def __init__(self, child: _Child) -> None:
        self.child = child
        self.refs: list[ImageRef] = []
        self.answer: Future[Answer] = Future()


class _Child:
    """A child process.

    Threads of its own send and receive: a child that hangs holds up nobody else.

    Attributes:
      images: number of those that it was given and has not answered.
    """

    def __init__(self, settings: Settings, starter: Executor) -> None:
        """Start the process.

        Raises:
          OSError: the system refuses.
        """
        self.images = 0
        self._asked_to_stop = False
        self._waiting: deque[_Chunk] = deque()
        self._death: BaseException | None = None
        self._changing = threading.Lock()
        self._trace = watchdog.Trace()
        self._connection: Connection[Any, Any]
        self._connection, theirs = Pipe()
        with theirs:
            self._process = starter.submit(self._spawn, theirs.fileno()).result()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="names")
        self._sender.submit(self._connection.send, settings)
        self._receiver = threading.Thread(target=self._receive, name="predictions", daemon=True)
        self._receiver.start()

    def work_on(self, chunk: _Chunk) -> None:
        """Work on images after all that were given before."""
        with self._changing:
            if self._death:
                chunk.answer.set_exception(self._death)
                return
            self._waiting.append(chunk)
            self.images += len(chunk.refs)
        self._sender.submit(self._connection.send, chunk.refs)

    def stop(self, request: Stop) -> None:
        """Ask to finish what is in progress."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            self._sender.submit(self._connection.send, request)

    def end(self) -> None:
        """Kill the process."""
        self._kill()
        # Neither has anybody to talk to now.
        self._receiver.join()
        self._sender.shutdown(cancel_futures=True)
        self._connection.close()
        self._trace.close()

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join((root, *filter(None, [os.environ.get("PYTHONPATH")])))
        # Run by `-m`, the module would have another name there, and so would what it sends.
        program = f"from {CHILD} import main; main()"
        return subprocess.Popen(
            # -P: the working folder may hold packages of these names that are not ours.
            [sys.executable, "-P", "-c", program, str(descriptor), str(self._trace.descriptor), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Its temporary files go where this process removes them.
            env={**os.environ, "PYTHONPATH": paths, "TMPDIR": tempfile.gettempdir()},
            pass_fds=[descriptor, self._trace.descriptor],
            # A terminal sends Ctrl-C to all of a group; what follows from it is up to this process.
            process_group=0,
        )

    def _receive(self) -> None:
        death: BaseException
        try:
            while isinstance(message := self._connection.recv(), Answer):
                with self._changing:
                    chunk = self._waiting.popleft()
                    self.images -= len(chunk.refs)
                chunk.answer.set_result(message)
            death = message
        except (EOFError, OSError):
            death = self._explain_death()
        except Exception as error:
            death = error
        with self._changing:
            self._death = death
        for chunk in self._waiting:
            chunk.answer.set_exception(death)

    def _explain_death(self) -> ProcessDiedError:
        self._kill()
        happened, remedy = self._trace.explain()
        if self._process.returncode >= 0:
            happened, remedy = f"ended with exit code {self._process.returncode}", ""
        return ProcessDiedError(f"process {self._process.pid} of the run {happened}", remedy)

    def _kill(self) -> None:
        # A process that is ending keeps its cause of death. Once it was waited for, another may have its number.
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


_at_work: Processes | None = None


@contextmanager
def in_processes(settings: Settings, threads: Sequence[int]) -> Iterator[None]:
    """Have the steps of this process read and predict in children; the arguments are those of `Processes`.

    Steps look the children up, as they do the meter of a run: they are copied, and the children outlive a wave.
    """
    global _at_work
    processes = Processes(settings, threads)
    watchdog.decode_apart()
    _at_work = processes
    try:
        yield
    finally:
        _at_work = None
        processes.close()


def share_out(threads: int, processes: int) -> list[int]:
    """Return the threads of each process."""
    return [threads // processes + (number < threads % processes) for number in range(processes)]


def at_work() -> Processes | None:
    """Return the children that read and predict for this process, if there are any."""
    return _at_work

"""The parent's side of a child process that reads images and runs the model on them: `predictor_process` is the other.

Both sides trust each other: a child does what this process would otherwise do itself, with the same rights.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines.errors import ExitCode, ScenetagsError
from pipelines.job.predictor_process import Answer, Settings, Stop
from pipelines.records import ImageRef
from pipelines.supervision import watchdog

PROGRAM = "pipelines.job.predictor_process"
"""The module whose `main` a child runs."""


class ProcessDiedError(ScenetagsError):
    """A child has ended before its work was done."""

    exit_code = ExitCode.STOPPED


class Chunk:
    """A few images for a child, and what becomes of them."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.refs: list[ImageRef] = []
        self.answer: Future[Answer] = Future()


class Child:
    """A child process.

    Threads of its own send and receive: a child that hangs holds up nobody else.

    Attributes:
      images: number of those that it was given and has not answered.
    """

    def __init__(self, settings: Settings, starter: Executor) -> None:
        """Start the process.

        Raises:
          OSError: the system refuses it.
          RuntimeError: the system refuses one of the threads; the process has ended.
        """
        self.images = 0
        self._asked_to_stop = False
        self._waiting: deque[Chunk] = deque()
        self._death: BaseException | None = None
        self._changing = threading.Lock()
        self._trace = watchdog.Trace()
        self._connection: Connection[Any, Any]
        self._connection, theirs = Pipe()
        try:
            with theirs:
                self._process = starter.submit(self._spawn, theirs.fileno()).result()
        except BaseException:
            self._connection.close()
            self._trace.close()
            raise
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="names")
        self._receiver = threading.Thread(target=self._receive, name="predictions", daemon=True)
        try:
            self._sender.submit(self._connection.send, settings)
            self._receiver.start()
        except BaseException:
            # Nobody else knows of the process yet.
            self.end()
            raise

    def work_on(self, chunk: Chunk) -> None:
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
        # Neither has anybody to talk to now. The receiver may never have been started.
        if self._receiver.is_alive():
            self._receiver.join()
        self._sender.shutdown(cancel_futures=True)
        self._connection.close()
        self._trace.close()

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join((root, *filter(None, [os.environ.get("PYTHONPATH")])))
        # Run by `-m`, the module would have another name there, and so would what it sends.
        program = f"from {PROGRAM} import main; main()"
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
        code = self._process.returncode
        happened, remedy = self._trace.explain(-code) if code < 0 else (f"ended with exit code {code}", "")
        return ProcessDiedError(f"process {self._process.pid} of the run {happened}", remedy)

    def _kill(self) -> None:
        # A process that is ending keeps its cause of death. Once it was waited for, another may have its number.
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

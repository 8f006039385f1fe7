"""Attacks on the lock of an output in a bucket: credentials that are lost, and stores that forget conditions.

Each lets real runs of `scenetags predict` write into an emulated bucket, behind a proxy.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from benchmarks.material import small_bundle, synthetic_chips
from pipelines import storage
from pipelines.results.outputs import open_output
from pipelines.storage import stores
from tools import emulators
from tools.attacks import Attack, Seen
from tools.issuer import Issuer, issuing, valid
from tools.proxy import Disturbance, Proxy, before

_CHIPS = 12
_TRIES = 7
_PATIENCE_SECONDS = 150.0
_CONDITIONS = ("if-match", "if-none-match", "ifgenerationmatch")
_SERVERS = {"gs": emulators.google, "s3": emulators.amazon}


class Stage(NamedTuple):
    """A run that holds its output and is not yet done, and what it depends on.

    Attributes:
      first: the run.
      issuer: of its credentials.
      proxy: before its output.
      output: path of its output.
    """

    first: subprocess.Popen[str]
    issuer: Issuer
    proxy: Proxy
    output: str


class Outcome(NamedTuple):
    """How two runs into one output ended.

    Attributes:
      first: exit code of the first, and what it wrote to stderr.
      second: likewise.
      images: images with a row.
      rows: rows.
    """

    first: tuple[int, str]
    second: tuple[int, str]
    images: int
    rows: int

    @property
    def second_is_refused(self) -> bool:
        """Whether the second run was refused, and the first lost nothing."""
        refused = self.second[0] == 2 and "is in use by run" in self.second[1]
        return self.first[0] == 0 and refused and self.images == self.rows == _CHIPS

    @property
    def first_gives_way(self) -> bool:
        """Whether the second run took the output over, and the first noticed."""
        noticed = self.first[0] in (1, 2) and "was taken over by run" in self.first[1]
        return noticed and self.second[0] == 0 and self.images == self.rows == _CHIPS

    def described(self) -> str:
        """Return all of it in words."""
        codes = f"codes {self.first[0]} and {self.second[0]}, {self.rows} rows of {self.images} images"
        return f"{codes}; first: {self.first[1]!r}; second: {self.second[1]!r}"


def lose_credentials(seconds: float, folder: Path) -> Seen:
    """Refuse credentials for some seconds, and let another run come as soon as they are there again."""

    def lose(stage: Stage) -> None:
        stage.issuer.answer = lambda: (500, "disturbed")
        time.sleep(seconds)
        stage.issuer.answer = valid

    outcome = _contend(lose)
    return Seen(outcome.second_is_refused, outcome.described())


def hang(folder: Path) -> Seen:
    """Let the first renewal of the lock hang for a minute."""

    def hang_once(stage: Stage) -> None:
        hung = threading.Event()

        def disturb(method: str, path: str) -> Disturbance:
            hangs = method == "PUT" and path.partition("?")[0].endswith("/_lock") and not hung.is_set()
            if hangs:
                hung.set()
            return Disturbance(seconds=60 if hangs else 0)

        stage.proxy.disturb = disturb
        hung.wait(30)

    outcome = _contend(hang_once)
    return Seen(outcome.second_is_refused, outcome.described())


def suspend(folder: Path) -> Seen:
    """Suspend the first run until the second has taken its output over."""

    def stop(stage: Stage) -> None:
        stage.first.send_signal(signal.SIGSTOP)

    def resume(stage: Stage) -> None:
        holder = storage.read_lock(f"{stage.output}/_lock")
        deadline = time.monotonic() + 50
        while storage.read_lock(f"{stage.output}/_lock") == holder and time.monotonic() < deadline:
            time.sleep(0.5)
        stage.first.send_signal(signal.SIGCONT)

    outcome = _contend(stop, resume)
    return Seen(outcome.first_gives_way, outcome.described())


def kill(folder: Path) -> Seen:
    """Kill a run that holds its output, and start another one."""
    with emulators.amazon() as target, _reaching(emulators.environment("s3", target.host)):
        output = f"{target.bucket}/out"
        flags = (f"--input={synthetic_chips(64)}", f"--output={output}")
        killed = _start(*flags)
        _wait_until(lambda: storage.exists(f"{output}/_lock"), killed)
        killed.kill()
        killed.communicate()
        began = time.monotonic()
        code, said = _end(_start(*flags))
        seconds = time.monotonic() - began
    return Seen(code == 0 and seconds < 60, f"code {code} after {seconds:.0f} s, with the start of the program: {said}")


def _contend(trouble: Callable[[Stage], None], meanwhile: Callable[[Stage], None] = lambda stage: None) -> Outcome:
    """Let one run hold its output, make trouble for it, and start a second run into the same output.

    Args:
      trouble: made before the second run is started.
      meanwhile: what happens while the second run is under way.
    """
    reading = threading.Event()

    def wait(method: str, path: str) -> Disturbance:
        reading.wait(60)
        return Disturbance()

    with (
        emulators.google() as source,
        emulators.amazon() as target,
        before(source.host) as slow,
        before(target.host) as proxy,
        issuing() as issuer,
    ):
        reached = emulators.environment("gs", slow.host) | emulators.environment("s3", proxy.host)
        del reached["AWS_ACCESS_KEY_ID"], reached["AWS_SECRET_ACCESS_KEY"]
        reached["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = issuer.url
        with _reaching(reached):
            for chip in sorted(synthetic_chips(64).iterdir())[:_CHIPS]:
                storage.write(f"{source.bucket}/chips/{chip.name}", chip.read_bytes())
            slow.disturb = wait
            output = f"{target.bucket}/out"
            flags = (f"--input={source.bucket}/chips/*", f"--output={output}")
            stage = Stage(_start(*flags), issuer, proxy, output)
            _wait_until(lambda: storage.exists(f"{output}/_lock"), stage.first)
            begun = time.monotonic()
            time.sleep(2)
            trouble(stage)
            second = _start(*flags)
            meanwhile(stage)
            # A lock that is not renewed is taken over by now; later, the reads that wait would be given up.
            with contextlib.suppress(subprocess.TimeoutExpired):
                second.wait(max(1, begun + 50 - time.monotonic()))
            reading.set()
            ended = _end(stage.first), _end(second)
            return Outcome(*ended, *_rows(output))


def forget_conditions(scheme: str, folder: Path) -> Seen:
    """Start two runs at once in a store that writes whatever the condition, several times."""
    refused, seen = 0, ""
    with _SERVERS[scheme]() as emulator, before(emulator.host) as proxy:
        proxy.disturb = lambda method, path: Disturbance(ignored=_CONDITIONS)
        with _reaching(emulators.environment(scheme, proxy.host)):
            for number in range(_TRIES):
                output = f"{emulator.bucket}/out-{number}"
                runs = [_start(f"--input={synthetic_chips(64)}", f"--output={output}") for _ in range(2)]
                ended = [_end(run) for run in runs]
                left = [entry.path for entry in storage.walk(output)]
                one_line = all(code == 2 and said.count("\n") == 0 and proxy.host in said for code, said in ended)
                refused += one_line and not left
                seen = f"codes {[code for code, _ in ended]}, {len(left)} objects left: {ended[0][1]}"
    return Seen(refused == _TRIES, f"{refused} of {_TRIES} pairs of runs refused; the last: {seen}")


def refuse_the_lock(scheme: str, status: int, folder: Path) -> Seen:
    """Answer every write of the lock with a conflict, while there is no lock."""
    with _SERVERS[scheme]() as emulator, before(emulator.host) as proxy:
        writes = 0

        def disturb(method: str, path: str) -> Disturbance:
            nonlocal writes
            is_write = method in ("PUT", "POST")
            writes += is_write
            return Disturbance(status if is_write else None)

        proxy.disturb = disturb
        with _reaching(emulators.environment(scheme, proxy.host)):
            began = time.monotonic()
            code, said = _end(_start(f"--input={synthetic_chips(64)}", f"--output={emulator.bucket}/out"), 60)
    seconds = time.monotonic() - began
    held = code == 2 and said.count("\n") == 0 and writes < 20
    return Seen(held, f"code {code} after {seconds:.0f} s and {writes} writes: {said}")


@contextlib.contextmanager
def _reaching(variables: Mapping[str, str]) -> Iterator[None]:
    """Let this process and those that it starts reach the emulators."""
    with mock.patch.dict(os.environ, variables):
        stores.open_store.cache_clear()
        yield
    stores.open_store.cache_clear()


def _start(*flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.predict", f"--model={small_bundle()}", "--progress=off", *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _end(run: subprocess.Popen[str], seconds: float = _PATIENCE_SECONDS) -> tuple[int, str]:
    """Wait for a run, kill it if it does not end, and return its exit code and what it wrote to stderr."""
    try:
        _, said = run.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.kill()
        _, said = run.communicate()
    return run.returncode, said.strip()


def _wait_until(happened: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    while not happened():
        if run.poll() is not None:
            raise RuntimeError(f"the run ended too early: {_end(run)}")
        time.sleep(0.2)


def _rows(output: str) -> tuple[int, int]:
    """Count the images with a row in an output, and its rows."""
    found = open_output(output)
    paths = found.predictions()["path"].to_pylist() if found.prediction_files else []
    return len(set(paths)), len(paths)


_ONE_RUN = "one run at a time: the second is refused, the first loses nothing"
_REFUSED_BY_NAME = "both are refused in one line that names the store, and nothing is left behind"

ATTACKS = (
    *(
        Attack(
            f"credentials_lost_{seconds:.0f}s",
            f"no credentials for s3:// for {seconds:.0f} s, then a second run",
            _ONE_RUN,
            partial(lose_credentials, seconds),
        )
        for seconds in (7.0, 20.0)
    ),
    Attack("lock_renewal_hangs", "a renewal of the lock is not answered for a minute; a second run", _ONE_RUN, hang),
    Attack(
        "lock_holder_suspended",
        "a run is suspended until a second one has taken its output over",
        "the second writes each row once, the first ends with one line",
        suspend,
    ),
    Attack("lock_holder_killed", "SIGKILL to a run that holds its output", "the next run waits half a minute", kill),
    *(
        Attack(
            f"conditions_ignored_{scheme}",
            f"two runs at once in {scheme}:// that ignores the conditions of writes, {_TRIES} times",
            _REFUSED_BY_NAME,
            partial(forget_conditions, scheme),
        )
        for scheme in _SERVERS
    ),
    *(
        Attack(
            f"lock_always_{status}_{scheme}",
            f"{scheme}:// answers every write of the lock with {status}, and there is none",
            "one line after a few tries",
            partial(refuse_the_lock, scheme, status),
        )
        for scheme, status in (("gs", 412), ("s3", 409))
    ),
)

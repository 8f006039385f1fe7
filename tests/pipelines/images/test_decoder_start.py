"""A decoder that does not start is a fault of the machine: no image is blamed for it, and the run ends in one line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pipelines import predict, tag
from pipelines.errors import ExitCode
from pipelines.images import DecodeSettings, Resized
from pipelines.images.isolation import DecoderPool, DecoderStartError
from tests.image_files import bomb, picture, unmarked_rgba_jpeg

SETTINGS = DecodeSettings(32, "bilinear", 1_000_000)
CHIP = unmarked_rgba_jpeg(picture())
REFUSED = (
    "cannot decode images in separate processes: the process crashed (exit code 1); check the limits on memory, "
    "processes and open files (ulimit -v, -u, -n, or the container's)"
)

# Runs at the start of every Python process, and ends the first decoders before they are ready.
DYING = """\
import os, sys
if "pipelines.images.decoder_process" in sys.orig_argv:
    with open(os.path.join(os.path.dirname(__file__), "tries"), "ab+", buffering=0) as tries:
        tries.write(b"x")
        if tries.tell() <= {}:
            os._exit(1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dying"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    with closing(DecoderPool(SETTINGS, max_seconds=20, size=1)) as pool:
        yield pool


def let_die(folder: Path, count: int) -> None:
    (folder / "sitecustomize.py").write_text(DYING.format(count))


def test_a_decoder_that_dies_as_it_starts_is_started_again(folder: Path, pool: DecoderPool) -> None:
    let_die(folder, 1)
    assert isinstance(pool.decode(CHIP), Resized)
    assert (folder / "tries").stat().st_size == 2


def test_a_decoder_that_cannot_be_started_is_the_fault_of_no_image(folder: Path, pool: DecoderPool) -> None:
    let_die(folder, 2)
    with pytest.raises(DecoderStartError) as refused:
        pool.decode(CHIP)
    assert str(refused.value) == REFUSED
    assert (folder / "tries").stat().st_size == 2
    assert isinstance(pool.decode(CHIP), Resized)


def test_a_system_that_refuses_decoders_is_the_fault_of_no_image(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", refuse)
        with pytest.raises(DecoderStartError, match=r"the process cannot be started \(Resource temporarily unavaila"):
            pool.decode(CHIP)
    assert isinstance(pool.decode(CHIP), Resized)


@pytest.mark.parametrize("soft_only", [False, True], ids=["ulimit -v", "ulimit -S -v"])
def test_a_run_of_limited_memory_decodes_in_processes(tmp_path: Path, soft_only: bool) -> None:
    (tmp_path / "chip.jpg").write_bytes(CHIP)
    script = (
        "import pathlib, resource, sys\n"
        "from pipelines.images import DecodeSettings\n"
        "from pipelines.images.isolation import DecoderPool\n"
        "limit = 2 << 30\n"
        f"hard = resource.getrlimit(resource.RLIMIT_AS)[1] if {soft_only} else limit\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, hard))\n"
        "pool = DecoderPool(DecodeSettings(32, 'bilinear'), 20, 1)\n"
        "pool.decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(resource.prlimit(pool._children[0]._process.pid, resource.RLIMIT_AS))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "chip.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (f"{(2 << 30, 2 << 30)}\n", "")


@pytest.mark.parametrize("flags", [["--isolate_decoding"], ["--processes=2"]], ids=["isolated", "in processes"])
def test_a_run_whose_decoders_do_not_start_is_one_line_and_no_failure(
    folder: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str], flags: Sequence[str]
) -> None:
    let_die(folder, 1000)
    assert predict.main([*named(tmp_path), f"--model={bundle_path}", "--progress=off", *flags]) == ExitCode.STOPPED
    assert capsys.readouterr() == (
        "",
        f"scenetags predict: stopped: {REFUSED}; this run committed nothing; run the same command again to start "
        "over\n",
    )
    assert not (tmp_path / "out/failures").exists()


def test_a_quick_look_whose_decoders_do_not_start_is_one_line(
    folder: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    let_die(folder, 1000)
    assert tag.main([write_slow(tmp_path), f"--model={bundle_path}"]) == ExitCode.STOPPED
    assert capsys.readouterr() == ("", f"scenetags tag: {REFUSED}\n")


def named(folder: Path) -> list[str]:
    return [f"--input={write_slow(folder)}", f"--output={folder / 'out'}"]


def write_slow(folder: Path) -> str:
    """Write images that are decoded in a process of their own with and without `--isolate_decoding`."""
    (folder / "slow").mkdir()
    for number in range(4):
        (folder / f"slow/{number}.jp2").write_bytes(bomb("jpeg2000", 1100, 1000))
    return str(folder / "slow")

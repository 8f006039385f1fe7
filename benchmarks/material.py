"""Synthetic chips and hardly trained bundles for benchmarks, created once and cached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "demo" / "benchmark"


def synthetic_chips(count: int) -> Path:
    """Return a folder of chips of 256 px, drawn once."""
    from model.synthetic.chips import write_chips

    folder = CACHE / f"chips-{count}"
    if not (folder / "labels.csv").exists():
        write_chips(folder, count, seed=0, size=256)
    return folder / "jpg"


def large_bundle() -> Path:
    """Return MobileNetV2 at alpha 1.0 and 224 px, trained briefly and once; its speed is independent of its weights."""
    return _bundle("bundle", "--alpha=1.0", "--image_size=224")


def int8_bundle() -> Path:
    """Return the model of `large_bundle`, quantized."""
    return _bundle("int8_bundle", "--alpha=1.0", "--image_size=224", "--quantize=int8")


def small_bundle() -> Path:
    """Return MobileNetV2 at alpha 0.35 and 32 px, trained briefly and once; memory is independent of its weights."""
    return _bundle("small_bundle", "--alpha=0.35", "--image_size=32")


def environment() -> dict[str, str]:
    """Return an environment in which processes cache their compiled bytecode.

    An installer compiles packages. Modules imported from a checkout, or under `PYTHONDONTWRITEBYTECODE`, would be
    compiled again by every process: seconds of start-up that no user would see twice.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    search = os.pathsep.join(filter(None, (str(ROOT), inherited.get("PYTHONPATH"))))
    return inherited | {"PYTHONPYCACHEPREFIX": str(CACHE / "bytecode"), "PYTHONPATH": search}


def _bundle(name: str, *flags: str) -> Path:
    folder = CACHE / name
    if not folder.exists():
        chips = synthetic_chips(64)
        command = [sys.executable, "-m", "pipelines.cli", "train", f"--output={folder}", f"--images={chips}"]
        command += [f"--labels={chips.parent / 'labels.csv'}", "--weights=none", "--finetune_epochs=1", *flags]
        # In a separate process, because child processes inherit the peak memory of this one.
        subprocess.run([*command, "--note=For benchmarks."], check=True)
    return folder


def write_list(file: Path, paths: Sequence[str]) -> Path:
    """Write a list of images for `--input_list`."""
    file.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return file

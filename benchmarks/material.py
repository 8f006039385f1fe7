"""What benchmarks measure with: chips drawn by code and bundles hardly trained, made once and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "demo" / "benchmark"


def synthetic_chips(count: int) -> Path:
    """Draw chips of 256 px, once."""
    from model.synthetic.chips import write_chips

    folder = CACHE / f"chips-{count}"
    if not (folder / "labels.csv").exists():
        write_chips(folder, count, seed=0, size=256)
    return folder / "jpg"


def large_bundle() -> Path:
    """Train MobileNetV2 at alpha 1.0 and 224 px for a moment, once; its speed does not depend on its weights."""
    return _bundle("bundle", "--alpha=1.0", "--image_size=224")


def int8_bundle() -> Path:
    """Train what `large_bundle` does, and keep it in integers."""
    return _bundle("int8_bundle", "--alpha=1.0", "--image_size=224", "--quantize=int8")


def small_bundle() -> Path:
    """Train MobileNetV2 at alpha 0.35 and 32 px for a moment, once; its memory does not depend on its weights."""
    return _bundle("small_bundle", "--alpha=0.35", "--image_size=32")


def environment() -> dict[str, str]:
    """Return an environment in which every process finds its bytecode compiled, once the same has run before.

    An installer compiles packages, but what is imported from a checkout, or where `PYTHONDONTWRITEBYTECODE` is set, is
    compiled anew by every process: seconds of start-up that no user would see twice.
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
        # In a process of its own: the peak memory of this one is passed on to the processes that it starts.
        subprocess.run([*command, "--note=For benchmarks."], check=True)
    return folder


def write_list(file: Path, paths: Sequence[str]) -> Path:
    """Write a list of images as `--input_list` takes it."""
    file.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return file

"""What is asked of `scenetags query`, and of which images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

LABELS = ("clear", "bare ground", "road", "it's")
IMAGES: Mapping[str, tuple[float, ...]] = {
    "2025/a.jpg": (0.9, 0.1, 0.8, 0.1),
    "2025/b.jpg": (0.9, 0.9, 0.5, 0.1),
    "2026/a.jpg": (0.2, 0.7, 0.1, 0.9),
    "2026/deep/c.jpg": (0.7, 0.2, 0.51, 0.1),
}

Ask = Callable[..., tuple[int, str, str]]


def names(lines: str, archive: Path) -> list[str]:
    return [line.removeprefix(f"{archive}/") for line in lines.splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if not file.is_dir()}

"""Small images with label files, read as a training reads them."""

from __future__ import annotations

from pathlib import Path

from model.training import reading, settings
from model.training.workspace import Workspace
from pipelines.inference.bundle import Bundle

COUNT = 20


def write(file: Path, header: str, images: range, *columns: str) -> str:
    """Write a label file of these images; in its columns, `#` is the number of the image modulo 5."""
    lines = [f"place{image % 5}_{image}," + ",".join(columns).replace("#", str(image % 5)) for image in images]
    file.write_text("\n".join((header, *lines)))
    return str(file)


def read(folder: Path, labels: str, *flags: str, start: Bundle | None = None) -> reading.Data:
    words = ["--images", str(folder / "images"), "--labels", labels, "--output", str(folder / "bundle")]
    parsed = settings.parse([*words, "--weights", "none", "--image_size", "32", *flags])._replace(weights=start)
    return reading.read(reading.find(parsed), parsed, Workspace(folder / "work"))


def sides(data: reading.Data) -> tuple[list[int], list[int]]:
    """Return the numbers of the images on each side; they are in the order of the label file."""
    return data.training.rows.tolist(), data.validation.rows.tolist()

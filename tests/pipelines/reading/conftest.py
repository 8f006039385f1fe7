"""Images to work on ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.records import ImageRef
from tests.image_files import encode, picture


@pytest.fixture
def refs(tmp_path: Path) -> list[ImageRef]:
    """List 60 images, of which every seventh is missing."""
    made = []
    for number in range(60):
        path = tmp_path / f"{number:02}.png"
        if number % 7:
            path.write_bytes(encode(picture(48 + number, 64), "png"))
        made.append(ImageRef(str(path), 1000, "print"))
    return made

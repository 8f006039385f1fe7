"""Write label files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.labels.reading import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines as a label file; the header is Kaggle's unless another is given."""

    def write_lines(*lines: str, header: str = "image_name,tags", end: str = "\n") -> Path:
        file = tmp_path / "labels.csv"
        file.write_bytes(end.join([header, *lines, ""]).encode())
        return file

    return write_lines

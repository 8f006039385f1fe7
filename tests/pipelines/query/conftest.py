"""An output to query, and its images."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import query as command
from pipelines.output.run import Run
from pipelines.records import Failure
from tests.pipelines.query.asking import IMAGES, LABELS, Ask
from tests.pipelines.results.tagged_outputs import image, run_of, write


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Write the images: files of different content."""
    for name in IMAGES:
        file = tmp_path / "archive" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"pixels of {name}".encode())
    return tmp_path / "archive"


@pytest.fixture
def output(run: Run, archive: Path, tmp_path: Path) -> Path:
    """Write an output of the images, and of one that failed, below a folder that is named like a column."""
    here = run_of(run, tmp_path / "model=x" / "tagged [1]", LABELS)
    predictions = [image(f"{archive}/{name}", probabilities) for name, probabilities in IMAGES.items()]
    write(here, predictions, [Failure(f"{archive}/d.jpg", "decode", "DamagedImageError", "cut off", "1-1")])
    return Path(here.output)


@pytest.fixture
def ask(capfdbinary: pytest.CaptureFixture[bytes]) -> Ask:
    """Run the command; return its exit code, and what it prints."""

    def ask(output: object, *words: str) -> tuple[int, str, str]:
        code = command.main([str(output), *words])
        printed = capfdbinary.readouterr()
        return code, printed.out.decode(), printed.err.decode()

    return ask

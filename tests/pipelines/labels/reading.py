"""What tests of label files ask of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipelines import labels
from pipelines.labels import LabelFile, LabelOptions, LabelSource

Write = Callable[..., Path]

PLANET = ("image_name,tags\ntrain_0,haze primary\n", {"train_0": {"haze", "primary"}})


def tags_of(file: Path | str, known: Sequence[str] = ()) -> dict[str, set[str]]:
    return {row.name: set(row.tags) for row in labels.read_labels(file, known).rows}


def findings_of(file: Path, known: Sequence[str] = ()) -> list[str]:
    return [str(finding) for finding in labels.read_labels(file, known).findings]


def refusal(file: Path) -> str:
    with pytest.raises(labels.LabelError) as refused:
        labels.read_labels(file)
    message = str(refused.value)
    assert message.isprintable()
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def read_with(file: Path, options: LabelOptions) -> LabelFile:
    return labels.read_labels(LabelSource((str(file),), options))

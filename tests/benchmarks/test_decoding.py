"""The benchmark of decoding fails where decoding is slower than its goal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import decoding
from tests.image_files import picture, unmarked_rgba_jpeg


@pytest.mark.parametrize(("goal", "code", "word"), [(1e6, 0, "met"), (0, 1, "MISSED")])
def test_decoding_is_measured_and_compared_with_its_goal(
    goal: float,
    code: int,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=number)))
    monkeypatch.setattr(decoding, "GOAL", goal)
    monkeypatch.setattr(sys, "argv", ["decoding", f"--images={tmp_path}", "--image_size=32"])

    assert decoding.main() == code

    head, *rows, verdict = capsys.readouterr().out.splitlines()
    assert head.startswith("3 images to 32 px")
    assert [float(row.split()[0]) > 0 for row in rows] == [True] * 4
    assert verdict.startswith(word)

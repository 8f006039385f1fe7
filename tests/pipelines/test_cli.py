"""`scenetags` hands over to its commands."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines import cli


def test_a_missing_library_is_reported_with_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(command: Any) -> Any:
        raise ModuleNotFoundError("No module named 'missing'", name="missing.part")

    monkeypatch.setattr("importlib.import_module", without)
    assert [cli.main([command]) for command in ("evaluate", "train")] == [2, 2]
    assert capsys.readouterr().err.splitlines() == [
        "scenetags evaluate: missing.part is not installed; run pip install 'scenetags'",
        "scenetags train: missing.part is not installed; run pip install 'scenetags[train]'",
    ]

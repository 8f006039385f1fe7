"""The folder of a training belongs to one training, and holds nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.training.opening import open_workspace
from model.training.workspace import WorkspaceError


def begin(folder: Path, settings: dict[str, str]) -> None:
    with open_workspace(folder, settings):
        pass


def test_two_trainings_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with (
        open_workspace(tmp_path / "run", {"seed": "0"}),
        pytest.raises(WorkspaceError, match="run: another training is running there; wait for it"),
    ):
        begin(tmp_path / "run", {"seed": "0"})
    begin(tmp_path / "run", {"seed": "0"})


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(WorkspaceError, match=r"is needed for training, but holds other files, such as photo\.jpg"):
        begin(tmp_path, {"seed": "0"})
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("settings", [None, '{"editor.fontSize": 12}'])
def test_images_that_only_lie_where_ours_would_are_left_alone(settings: str | None, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "photo.jpg").write_bytes(b"mine")
    if settings:
        (tmp_path / "settings.json").write_text(settings)
    with pytest.raises(WorkspaceError, match=r"holds other files, such as images|not from a training"):
        begin(tmp_path, {"seed": "0"})
    assert (tmp_path / "images" / "photo.jpg").read_bytes() == b"mine"


def test_images_left_out_are_listed_by_paths_that_hold_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_workspace(tmp_path / "work", {}) as workspace:
        file = workspace.write_left_out(["chips/a.png", "gs://chips/b.png", "/chips/c.png"])
        assert file.read_text().split() == ["path", str(tmp_path / "chips/a.png"), "gs://chips/b.png", "/chips/c.png"]

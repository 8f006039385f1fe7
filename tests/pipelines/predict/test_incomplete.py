"""A run whose listing may have missed images says so, whatever the share of failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines import predict
from pipelines.errors import ExitCode
from tests.outputs import rows
from tests.pipelines.archives.packing import CHIPS, pack


def test_an_incomplete_listing_ends_with_code_3_and_overwrites_nothing(
    tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pack(tmp_path / "x.tar", {f"{number}.jpg": CHIPS["a.jpg"] for number in range(40)})
    flags = [f"--input={path}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}", "--progress=off"]
    assert predict.main(flags) == ExitCode.DONE
    whole = path.read_bytes()
    at = whole.index(b"20.jpg")
    path.write_bytes(whole[:at] + bytes(512) + whole[at + 512 :])
    capsys.readouterr()

    assert predict.main([*flags, "--overwrite"]) == ExitCode.TOO_MANY_FAILURES

    printed = capsys.readouterr().err
    assert "the listing is incomplete: an archive or a folder may hold images that were not listed" in printed
    assert "; the old rows stay" in printed
    assert len(rows(tmp_path / "out")) == 40


def test_the_failure_of_an_archive_is_gone_once_all_of_it_can_be_read(tmp_path: Path, bundle_path: str) -> None:
    path = pack(tmp_path / "x.tar", {f"{number}.jpg": CHIPS["a.jpg"] for number in range(4)})
    whole = path.read_bytes()
    flags = [f"--model={bundle_path}", f"--output={tmp_path / 'out'}", "--progress=off", "--checkpoint_every=2"]
    path.write_bytes(whole[: whole.index(b"1.jpg") + 600])
    assert predict.main([f"--input={path}", *flags]) == ExitCode.TOO_MANY_FAILURES
    assert str(path) in [row["path"] for row in rows(tmp_path / "out", "failures")]
    path.write_bytes(whole)
    # Two waves complete the archive: with the last of all its members, and with the last that a pattern matches.
    assert predict.main([f"--input={path}::[12].jpg", f"--input={path}", *flags]) == ExitCode.DONE
    assert rows(tmp_path / "out", "failures") == []
    assert len(rows(tmp_path / "out")) == 4


def test_a_folder_that_cannot_be_listed_is_an_incomplete_listing(
    tmp_path: Path, bundle_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("seen", "hidden"):
        (tmp_path / "chips" / name).mkdir(parents=True)
        (tmp_path / "chips" / name / "a.jpg").write_bytes(CHIPS["a.jpg"])

    scandir = os.scandir

    def refuse(folder: str | Path) -> object:
        if str(folder).endswith("hidden"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    flags = [f"--input={tmp_path / 'chips'}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}"]

    assert predict.main([*flags, "--progress=off", "--max_failure_rate=1"]) == ExitCode.TOO_MANY_FAILURES

    [failure] = rows(tmp_path / "out", "failures")
    assert (failure["error"], failure["message"]) == ("UnlistedFolderError", "Permission denied")

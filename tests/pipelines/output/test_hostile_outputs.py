"""An output folder from a stranger moves, deletes and overwrites nothing outside of its own tables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.output.journal import JOURNAL, Journal, read_journal, write_journal
from pipelines.output.lock import LOCK, drop_shadows, hold_output
from pipelines.output.run import PREDICTIONS, RUNS, SHADOW, STAGING, Run
from pipelines.output.tables import OutputError
from pipelines.storage import Move
from tests.pipelines.output.rows import FIRST, commit_rows

OURS = f"{STAGING}20260101T000000.000000Z-beef"
ROWS = f"{OURS}/predictions/a.parquet"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Make a folder next to the output, in which nothing may change."""
    folder = tmp_path / "victim"
    for name in ("predictions/mine.parquet", "precious.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def stage(run: Run, journal: object) -> None:
    staging = Path(run.output, OURS)
    (staging / "predictions").mkdir(parents=True)
    (staging / "predictions" / "a.parquet").write_text("rows")
    (staging / JOURNAL).write_text(journal if isinstance(journal, str) else json.dumps(journal))


def journal(moves: object = (), deletions: object = (), wave: object = 0) -> dict[str, object]:
    return {"wave": wave, "moves": moves, "deletions": deletions}


@pytest.mark.parametrize(
    "written",
    [
        journal(moves=[[ROWS, "../victim/precious.txt"]]),
        journal(moves=[["../victim/precious.txt", "predictions/a.parquet"]]),
        journal(moves=[[f"{OURS}/predictions/../../../victim/precious.txt", "predictions/a.parquet"]]),
        journal(moves=[["/etc/passwd", "predictions/a.parquet"]]),
        journal(moves=[[ROWS, "predictions/../../victim/x.parquet"]]),
        journal(moves=[[ROWS, "_lock"]]),
        journal(moves=[["predictions/a.parquet", "predictions/b.parquet"]]),
        journal(deletions=["../victim/precious.txt"]),
        journal(deletions=["../victim/predictions/mine.parquet"]),
        journal(deletions=["predictions/../../victim/predictions/mine.parquet"]),
        journal(deletions=["predictions"]),
        journal(deletions=[7]),
        journal(deletions="predictions/a.parquet"),
        journal(moves=[[ROWS]]),
        journal(moves=[[ROWS, "predictions/\0.parquet"]]),
        journal(moves=[[ROWS, "predictions/\ud800.parquet"]]),
        journal(deletions=["predictions/\0.parquet"]),
        journal(deletions=["failures/\ud800.parquet"]),
        journal(moves={"ab": 1}),
        journal(moves=None),
        journal(moves=[None]),
        '{"wave": ' + "9" * 5000 + ', "moves": [], "deletions": []}',
        '{"wave": 0, "moves": ' + "[" * 100_000,
        json.dumps(journal(moves=[[ROWS, "predictions/a.parquet"]]))[:-2],
        "",
        journal(wave="0"),
        {"wave": 0},
        [],
        "no JSON",
        "[" * 100_000,
    ],
    ids=lambda written: json.dumps(written)[:60],
)
def test_a_journal_that_names_other_files_is_refused(written: object, run: Run, victim: Path) -> None:
    before = contents(victim)
    stage(run, written)

    with pytest.raises(OutputError, match=rf"{OURS}/{JOURNAL} is not a valid journal of a commit"), hold_output(run):
        pass

    assert contents(victim) == before
    assert Path(run.output, ROWS).read_text() == "rows", "it is left for its owner to look at"


def test_a_journal_of_ours_is_carried_out(run: Run) -> None:
    stage(run, journal(moves=[[ROWS, "predictions/a.parquet"]], deletions=["failures/b.parquet"]))

    with hold_output(run):
        assert contents(Path(run.output, PREDICTIONS)) == {"a.parquet": "rows"}
        assert not Path(run.output, OURS).exists()


def test_whatever_bit_of_a_journal_changes_it_is_refused_or_says_the_same(run: Run) -> None:
    written = Journal(20, [Move(ROWS, "predictions/a.parquet")], ["failures/b.parquet"])
    write_journal(run.staging, written)
    file = Path(run.staging, JOURNAL)
    data = file.read_bytes()
    refused = 0
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        file.write_bytes(changed)
        try:
            assert read_journal(run.staging) == written, f"byte {position} of {data!r}"
        except OutputError:
            refused += 1
    assert refused > len(data) / 2
    file.write_bytes(data)
    assert read_journal(run.staging) == written


def link_staging(output: Path, victim: Path) -> None:
    (victim / JOURNAL).write_text(json.dumps(journal(moves=[[ROWS, "predictions/a.parquet"]])))
    (victim / "predictions" / "a.parquet").write_text("mine")
    (output / OURS).symlink_to(victim)


def link_staged_table(output: Path, victim: Path) -> None:
    (output / OURS).mkdir()
    (output / OURS / JOURNAL).write_text(
        json.dumps(journal(moves=[[f"{OURS}/predictions/mine.parquet", "predictions/a.parquet"]]))
    )
    (output / OURS / "predictions").symlink_to(victim / "predictions")


def link_staged_file(output: Path, victim: Path) -> None:
    (output / OURS / "predictions").mkdir(parents=True)
    (output / OURS / JOURNAL).write_text(json.dumps(journal(moves=[[ROWS, "predictions/a.parquet"]])))
    (output / ROWS).symlink_to(victim / "precious.txt")


def link_table(output: Path, victim: Path) -> None:
    (output / OURS).mkdir()
    (output / OURS / JOURNAL).write_text(json.dumps(journal(deletions=["predictions/mine.parquet"])))
    (output / PREDICTIONS).symlink_to(victim / "predictions")


def link_manifests(output: Path, victim: Path) -> None:
    (victim / "1.json").write_text(json.dumps({"status": "running"}))
    (output / RUNS).symlink_to(victim)


def link_lock(output: Path, victim: Path) -> None:
    (output / LOCK).symlink_to(victim / "precious.txt")


def file_as_table(output: Path, victim: Path) -> None:
    (output / PREDICTIONS).write_text("a file")


def hard_link_lock(output: Path, victim: Path) -> None:
    (output / LOCK).hardlink_to(victim / "precious.txt")


def link_shadow(output: Path, victim: Path) -> None:
    (output / f"{SHADOW}0123456789ab").symlink_to(victim)


@pytest.mark.parametrize(
    ("link", "refusal"),
    [
        (link_staging, None),
        (link_staged_table, "predictions/mine.parquet is, or lies behind, a link"),
        (link_staged_file, "predictions/a.parquet is, or lies behind, a link"),
        (link_table, "predictions is a link"),
        (link_manifests, "runs is a link"),
        (file_as_table, "predictions is a file, and scenetags needs a folder there; move it elsewhere"),
        (hard_link_lock, None),
        (link_lock, "cannot write to output .*: .*/_lock is a link$"),
        (link_shadow, None),
    ],
)
def test_no_link_is_followed(link: Callable[[Path, Path], None], refusal: str | None, run: Run, victim: Path) -> None:
    Path(run.output).mkdir()
    link(Path(run.output), victim)
    before = contents(victim)

    if refusal:
        with pytest.raises(OutputError, match=refusal), hold_output(run):
            pass
    else:
        with hold_output(run):
            drop_shadows(run)

    assert contents(victim) == before


def test_a_link_in_place_of_the_folder_of_an_overwrite_is_refused(run: Run, victim: Path) -> None:
    overwrite = replace(run, overwrite=True)
    Path(run.output).mkdir()
    Path(overwrite.folder).symlink_to(victim)
    before = contents(victim)

    with (
        pytest.raises(OutputError, match=r"predictions is a link or on another disk, .*; move it back, or keep"),
        hold_output(overwrite),
    ):
        pass

    assert contents(victim) == before


@pytest.mark.parametrize("moved", [True, False])
def test_a_journal_that_leads_through_a_link_is_refused(moved: bool, run: Run, victim: Path) -> None:
    linked = f"{SHADOW}0123456789ab"
    Path(run.output).mkdir()
    Path(run.output, linked).symlink_to(victim)
    theirs = f"{linked}/predictions/mine.parquet"
    stage(run, journal(moves=[[ROWS, theirs]]) if moved else journal(deletions=[theirs]))
    before = contents(victim)

    with pytest.raises(OutputError, match=f"{linked}/predictions is, or lies behind, a link"), hold_output(run):
        pass

    assert contents(victim) == before


def test_an_output_that_is_itself_a_link_is_an_output(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(run.output).symlink_to(tmp_path / "elsewhere")

    with hold_output(run):
        commit_rows(run, FIRST)

    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["failures", "predictions", "runs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_tables_on_another_disk_are_refused_before_rows_are_made(run: Run) -> None:
    predictions = Path(run.output, PREDICTIONS)
    predictions.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", predictions], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts no disks")
    try:
        with pytest.raises(OutputError, match="predictions is a link or on another disk"), hold_output(run):
            pass
    finally:
        subprocess.run(["umount", predictions], check=True)


def test_a_user_s_own_folders_of_similar_names_stay(run: Run) -> None:
    for name in (f"{STAGING}notes", f"{SHADOW}notes", f"{STAGING}20260101", f"{SHADOW}0123456789abcdef"):
        folder = Path(run.output, name)
        folder.mkdir(parents=True)
        (folder / "mine.txt").write_text("mine")
    before = contents(Path(run.output))

    with hold_output(run):
        drop_shadows(run)
        commit_rows(replace(run, name="20260101T000000.000000Z-0003"), FIRST)

    for name, text in before.items():
        assert Path(run.output, name).read_text() == text
    shutil.rmtree(run.output)

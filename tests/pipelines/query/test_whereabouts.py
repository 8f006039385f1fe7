"""`scenetags query`: images are found where they are now."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

from pipelines.output.run import Run
from tests.pipelines.query.asking import IMAGES, LABELS, Ask, names, tree
from tests.pipelines.results.tagged_outputs import image, run_of, write


def test_relative_paths_lead_to_the_images_also_after_a_move(ask: Ask, run: Run, archive: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    here = replace(
        run_of(run, tmp_path / "out", LABELS), relative_to=str(archive), options={"relative_to": str(archive)}
    )
    rows = [image(f"{archive}/{name}", probabilities) for name, probabilities in IMAGES.items()]
    write(here, rows)

    assert names(ask(here.output, "road", "--paths")[1], archive) == ["2025/a.jpg", "2025/b.jpg", "2026/deep/c.jpg"]
    assert next(csv.DictReader(io.StringIO(ask(here.output, "--csv", "-")[1])))["path"] == "2025/a.jpg"
    archive.rename(moved)
    code, printed, _ = ask(here.output, "road", "--copy_to", str(tmp_path / "to"), "--relative_to", str(moved))
    assert (code, printed) == (0, f"{tmp_path}/to: 3 copied, 0 already there, 0 failed\n")
    assert sorted(tree(tmp_path / "to")) == ["2025/a.jpg", "2025/b.jpg", "2026/deep/c.jpg"]


def test_whole_paths_are_relative_to_nothing(ask: Ask, output: Path) -> None:
    code, _, error = ask(output, "--paths", "--relative_to", "/elsewhere")

    assert (code, error.count("\n")) == (2, 1)
    assert "has rows with absolute paths; omit --relative_to" in error


def test_an_archive_that_has_moved_is_hinted_at(ask: Ask, run: Run, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    write(
        replace(run_of(run, tmp_path / "out", LABELS), relative_to=gone, options={"relative_to": gone}),
        [image(f"{gone}/a.jpg", [0.9] * len(LABELS))],
    )

    code, _, error = ask(tmp_path / "out", "--copy_to", str(tmp_path / "to"))

    assert code == 1
    assert error.endswith(f"scenetags query: if the images are not below {gone} any more, give --relative_to\n")


def test_only_who_needs_the_images_is_asked_where_they_are(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = replace(run_of(run, tmp_path / "out", ("road",)), relative_to="/archive")
    write(here, [image("/archive/a.jpg", [0.9])])

    assert "0.900  a.jpg" in ask(here.output, "road")[1]
    assert '"a.jpg"' in ask(here.output, "--csv", "-")[1]
    for flags in (["--paths"], ["--copy_to", str(tmp_path / "to")], ["--fiftyone", str(tmp_path / "x.json")]):
        code, _, error = ask(here.output, *flags)
        assert (code, error.count("\n")) == (2, 1)
        assert "does not say where its images are; give their folder with --relative_to" in error
    assert ask(here.output, "--paths", "--relative_to", "/new")[1] == "/new/a.jpg\n"

"""`scenetags predict` on images that fail, rates of failures, and accounts that do not balance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipelines.archives.packed import PackedNames
from pipelines.output.run import Accounts
from pipelines.reading.ahead import PredictAhead
from pipelines.records import Empty, Failure, Prediction
from pipelines.runners import jobs
from tests.bundles import IMAGE_SIZE, POISON
from tests.image_files import bomb, encode, picture
from tests.outputs import failed, manifest, rows, tagged
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import CHIP, Predict

ODD_NAMES = (
    "with space.jpg",
    "a#1.jpg",
    "100%.jpg",
    "[x].jpg",
    "a?b*c.jpg",
    "森 ä🛰.jpg",
    "quote'\".jpg",
    "new\nline.jpg",
)


@on_both_runners
def test_good_and_bad_files_each_land_in_their_table(run: Predict, tmp_path: Path) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    for name in ODD_NAMES:
        (folder / name).write_bytes(CHIP)
    bad = {"empty.jpg": b"", "text.jpg": b"not an image", "cut.jpg": CHIP[: len(CHIP) // 2], "bomb.png": bomb("png")}
    for name, data in bad.items():
        (folder / name).write_bytes(data)

    assert run("--max_failure_rate=0.5") == 0

    assert sorted(tagged(tmp_path / "out")) == sorted(ODD_NAMES)
    found = failed(tmp_path / "out")
    assert found.keys() == bad.keys()
    for name, reason in {
        "empty.jpg": "empty",
        "text.jpg": "not a JPEG",
        "cut.jpg": "truncated",
        "bomb.png": "60000 x",
    }.items():
        assert reason in found[name]
    assert {row["stage"] for row in rows(tmp_path / "out", "failures")} == {"decode"}
    assert [manifest(tmp_path / "out")[name] for name in ("inputs", "predictions", "failures")] == [12, 8, 4]


def test_too_many_failures_end_with_code_3_after_all_is_written(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "empty.jpg").write_bytes(b"")

    assert run("--max_failure_rate=0.09") == 3
    assert run("--max_failure_rate=0.09") == 3, "the same again"

    assert len(tagged(tmp_path / "out")) == 10
    assert failed(tmp_path / "out") == {"empty.jpg": "empty file"}
    *_, said, example = capsys.readouterr().err.splitlines()
    assert "9.1% of the images failed" in said
    assert example == f"  e.g. {chips / 'empty.jpg'}: decode: empty file"
    assert run("--max_failure_rate=0.10", "--overwrite") == 0


@on_both_runners
def test_one_image_that_fails_in_the_engine_costs_no_other(
    run: Predict, tmp_path: Path, poisoned_bundle_path: str
) -> None:
    (tmp_path / "chips").mkdir()
    good = tmp_path / "chips/0.jpg"
    good.write_bytes(CHIP)
    for number in range(1, 999):
        os.link(good, tmp_path / f"chips/{number}.jpg")
    poison = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), POISON, np.uint8)
    (tmp_path / "chips/500 poison.png").write_bytes(encode(poison, "png"))

    assert run(model=poisoned_bundle_path) == 0

    assert len(rows(tmp_path / "out")) == 999
    [failure] = rows(tmp_path / "out", "failures")
    assert (os.path.basename(failure["path"]), failure["stage"], failure["error"]) == (
        "500 poison.png",
        "predict",
        "RuntimeError",
    )
    assert "gather" in failure["message"].lower()
    assert manifest(tmp_path / "out")["errors"] == {"predict: RuntimeError": 1}


def test_a_run_that_fails_fast_ends_at_once_and_keeps_what_it_has_committed(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "2.jpg").write_bytes(b"")
    (chips / "7.jpg").write_bytes(b"")
    (chips / "8.jpg").write_bytes(b"")

    assert run("--fail_fast", max_failure_rate=0.1, checkpoint_every=5) == 3
    said = capsys.readouterr().err
    assert "2 images failed, more than --max_failure_rate 0.1 allows; --fail_fast ended the run" in said
    assert "5 images are committed to" in said
    assert f"\n  {chips}/2.jpg: decode: empty file\n  {chips}/7.jpg: decode: empty file\n" in said
    assert tagged(tmp_path / "out") == ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]
    assert manifest(tmp_path / "out")["status"] == "failed_fast"

    assert run("--fail_fast", max_failure_rate=0.3, checkpoint_every=5) == 0
    assert len(tagged(tmp_path / "out")) == 7
    assert list(failed(tmp_path / "out")) == ["2.jpg", "7.jpg", "8.jpg"]


def test_failing_fast_at_a_rate_of_0_ends_at_the_first_failure(run: Predict, chips: Path, tmp_path: Path) -> None:
    (chips / "0.jpg").write_bytes(b"")

    assert run("--fail_fast", max_failure_rate=0) == 3
    assert not (tmp_path / "out" / "predictions").exists()


@on_both_runners
def test_images_beyond_the_limits_are_failures_with_a_reason(run: Predict, chips: Path, tmp_path: Path) -> None:
    (chips / "large.png").write_bytes(encode(picture(200, 200), "png"))
    (chips / "heavy.bmp").write_bytes(encode(picture(48, 64), "bmp"))

    assert run(max_pixels=10_000, max_bytes=8000, max_failure_rate=1) == 0

    assert len(tagged(tmp_path / "out")) == 10
    assert {row["error"] for row in rows(tmp_path / "out", "failures")} == {"FileTooLargeError"}
    assert run(max_pixels=10_000, max_failure_rate=1) == 0
    assert failed(tmp_path / "out") == {
        "large.png": "200 x 200 pixels: exceeds the limit of 10,000 (predict --max_pixels)"
    }


def test_failures_alone_leave_no_predictions(run: Predict, tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/empty.jpg").write_bytes(b"")

    assert run() == 3

    assert failed(tmp_path / "out") == {"empty.jpg": "empty file"}
    assert rows(tmp_path / "out") == []


def test_unbalanced_accounts_end_with_code_4(
    run: Predict, chips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "run_job", lambda *_: Accounts(inputs=10, predictions=9))

    assert run() == 4

    assert "ROW COUNT MISMATCH: 10 inputs, but 9 rows and skips; please report this" in capsys.readouterr().out


@pytest.mark.parametrize(("times", "rows_and_skips"), [(0, 8), (2, 12)], ids=["lost", "doubled"])
def test_rows_lost_or_doubled_in_the_pipeline_end_with_code_4(
    run: Predict,
    chips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    times: int,
    rows_and_skips: int,
) -> None:
    whole = PredictAhead.next

    def wrongly(self: PredictAhead) -> Iterator[Prediction | Failure | Empty]:
        for result in whole(self):
            assert isinstance(result, Prediction)
            yield from [result] * (times if result.ref.path.endswith(("3.jpg", "7.jpg")) else 1)

    monkeypatch.setattr(PredictAhead, "next", wrongly)

    assert run(checkpoint_every=5) == 4

    assert f"ROW COUNT MISMATCH: 10 inputs, but {rows_and_skips} rows and skips" in capsys.readouterr().out
    assert len(rows(tmp_path / "out")) == rows_and_skips
    assert manifest(tmp_path / "out")["status"] == "unbalanced"


def test_names_lost_on_their_way_into_the_pipeline_end_with_code_4(
    run: Predict, chips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = PackedNames.__iter__
    monkeypatch.setattr(PackedNames, "__iter__", lambda self: islice(whole(self), len(self) - 1))

    assert run(checkpoint_every=5) == 4

    assert "ROW COUNT MISMATCH: 10 inputs, but 8 rows and skips" in capsys.readouterr().out


def test_real_analytic_tiffs_are_refused_with_a_reason(run: Predict, tmp_path: Path, planet: Path) -> None:
    assert run(input=planet / "tif") == 3
    assert rows(tmp_path / "out") == []
    assert len(failed(tmp_path / "out")) == 6
    assert all("16-bit multi-band TIFF" in reason for reason in failed(tmp_path / "out").values())

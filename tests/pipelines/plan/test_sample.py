"""`scenetags plan`: what is sampled, and what is measured of it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.commandline.flags import parse_predict
from pipelines.inference.bundle import LITERT_MODEL, load_bundle
from pipelines.inference.embeddings import embedding_size
from pipelines.planning import sampling
from pipelines.planning.census import take_census
from pipelines.records import Failure, ImageRef, Window
from pipelines.scenes.grid import window_path
from tests.image_files import encode, picture
from tests.pipelines.plan.planning import Run, planned
from tests.scene_files import samples, write_scene


def ref(number: int) -> ImageRef:
    return ImageRef(f"/chips/{number:06}.jpg", 100, "")


def test_the_same_sample_is_chosen_each_time(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (planned(run, capsys, sample=5)["sampled"] for _ in range(2))

    assert first == second
    assert first["images"] == 5
    assert first["expected_failures"]["low"] < first["expected_failures"]["high"] <= 15


def test_a_sample_is_spread_over_the_whole_listing_and_stays_in_its_order() -> None:
    listed = [ref(number) if number % 10 else Failure(str(number), "list", "x", "", "") for number in range(10_000)]

    census = take_census(listed, 300)

    assert (census.images, census.bytes, census.failure_count, len(census.failures)) == (9000, 900_000, 1000, 300)
    paths = [item.path for item in census.sample]
    assert paths == sorted(set(paths))
    tenths = [
        sum(f"/chips/{tenth:03}" <= path[:10] < f"/chips/{tenth + 1:03}" for path in paths) for tenth in range(10)
    ]
    assert all(15 <= count <= 45 for count in tenths), tenths
    assert take_census(listed, 300).sample == census.sample
    assert take_census(listed, 20_000).sample == tuple(item for item in listed if isinstance(item, ImageRef))


def test_a_large_sample_is_chosen_at_once() -> None:
    listed = [ref(number) for number in range(20_000)]
    began = time.thread_time()
    assert list(take_census(listed, 20_000).sample) == listed
    assert time.thread_time() - began < 5, "it took a hundredth of that"


def test_windows_of_a_part_are_sampled_together() -> None:
    """They are read at once: one alone would cost as much as all of them."""

    def window(scene: int, part: int, column: int) -> ImageRef:
        path = f"/scenes/{scene:03}.tif"
        place = Window(path, 64 * column, 64 * part, 64, 64, part, 640, 640, 1000)
        return ImageRef(window_path(path, *place[1:5]), 100, "", window=place)

    listed = [window(scene, part, column) for scene in range(50) for part in range(10) for column in range(10)]
    chips = [ref(number) for number in range(100)]

    census = take_census([*listed, *chips], 200)

    assert (census.images, census.bytes) == (5100, 510_000)
    sampled = Counter((item.window.scene, item.window.part) for item in census.sample if item.window)
    assert set(sampled.values()) == {10}
    assert 200 <= len(census.sample) < 210
    places = {item.path: place for place, item in enumerate([*listed, *chips])}
    assert [places[item.path] for item in census.sample] == sorted(places[item.path] for item in census.sample)
    assert len({scene for scene, _ in sampled}) > 10


def test_a_plan_for_scenes_measures_windows_and_passes_on_how_they_are_cut(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = samples(64, 128, 3, "uint8")
    values[:, 32:, 64:] = 0
    scene = write_scene(tmp_path / "scene.tif", values, photometric="RGB", nodata=0)

    described = planned(run, capsys, "--tile=32", input=scene)

    assert described["found"]["inputs"] == described["sampled"]["images"] == 8
    assert described["sampled"]["empty"] == 2
    assert described["seconds_per_image"]["decoding"] > 0
    assert described["seconds_per_image"]["fetching"] > 0
    assert parse_predict(shlex.split(described["command"])[2:]).tile == 32


@pytest.mark.parametrize("kind", ["tar", "zip", "gztar"])
def test_members_of_archives_are_sampled(
    run: Run, folder: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "chips"), kind, folder)

    described = planned(run, capsys, input=archive, sample=7, reads_in_flight=2)

    assert described["found"]["inputs"] == 15
    assert described["sampled"]["images"] == 7
    assert not [reason for reason in described["sampled"]["reasons"] if not reason["error"].startswith("decode")]


def test_rows_are_measured_as_a_run_would_write_them(
    run: Run, folder: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text(
        "path,site\n" + "".join(f"{folder}/{number}.jpg,{os.urandom(200).hex()}\n" for number in range(12))
    )

    def bytes_per_row(**flags: Any) -> float:
        named = {"input": None, "input_list": tmp_path / "list.csv", **flags}
        return float(planned(run, capsys, *arguments, **named)["sampled"]["bytes_per_row"])

    arguments: list[str] = []
    plain = bytes_per_row()
    assert bytes_per_row(keep_columns="site") > plain + 200
    arguments = ["--embeddings"]
    assert bytes_per_row() > plain + embedding_size(load_bundle(bundle_path).read(LITERT_MODEL))


def test_an_engine_without_embeddings_is_refused_as_by_a_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--embeddings", engine="tensorflow") == 2
    assert "engine tensorflow computes no embeddings" in capsys.readouterr().err


def test_work_is_measured_where_it_is_done(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    threads = planned(run, capsys)["seconds_per_image"]
    processes = planned(run, capsys, "--isolate_decoding")["seconds_per_image"]

    for costs in (threads, processes):
        assert all(costs[step] > 0 for step in ("waiting", "fetching", "decoding", "model", "pipeline"))


def test_limits_hold_in_the_sample(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "large.bmp").write_bytes(encode(picture(), "bmp"))

    described = planned(run, capsys, max_bytes=9000)

    assert "read: FileTooLargeError" in [reason["error"] for reason in described["sampled"]["reasons"]]
    assert "--max_bytes 9000" in described["command"]


def test_tensorflow_tries_out_sizes_of_a_batch(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "BATCH_SIZES", (2, 8, 500))

    assert run(engine="tensorflow", json="-") == 0
    described = json.loads(capsys.readouterr().out)

    assert [trial["batch_size"] for trial in described["trials"]] == [2, 8, 13], "no more than there are"
    assert described["here"]["batch_size"] in (2, 8, 13)
    assert "--engine tensorflow" in described["command"]

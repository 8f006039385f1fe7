"""`scenetags plan`: what it counts, measures and says, on real files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import cli, plan, storage
from pipelines.commandline.flags import parse_predict
from pipelines.planning import sampling
from pipelines.planning.census import take_census
from pipelines.records import Failure, ImageRef, Window
from pipelines.runners.beam_flags import check_beam_flags
from pipelines.scenes.grid import window_path
from pipelines.storage import stores
from pipelines.supervision import interruption
from tests.conftest import Bucket
from tests.image_files import encode, picture, unmarked_rgba_jpeg
from tests.pipelines.conftest import WriteChips
from tests.scene_files import samples, write_scene

CHIPS = [f"{number}.jpg" for number in range(12)]

Run = Callable[..., int]


@pytest.fixture
def folder(chips: WriteChips) -> Path:
    """Chips, and beside them a plain PNG, an image that is damaged, and what is no image."""
    folder = chips(CHIPS)
    (folder / "plain.png").write_bytes(encode(picture(), "png"))
    (folder / "cut.jpg").write_bytes(unmarked_rgba_jpeg(picture())[:500])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def run(folder: Path, bundle_path: str) -> Run:
    """Plan for the folder, unless the arguments say otherwise."""

    def run(*arguments: str, **flags: Any) -> int:
        flags = {"input": folder, "model": bundle_path, **flags}
        named = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        return plan.main([*named, *arguments])

    return run


def planned(run: Run, capsys: pytest.CaptureFixture[str], *arguments: str, **flags: Any) -> dict[str, Any]:
    """Plan, and read what is written for machines."""
    assert run(*arguments, json="-", **flags) == 0
    described: dict[str, Any] = json.loads(capsys.readouterr().out)
    return described


def commands(printed: str) -> list[list[str]]:
    return [shlex.split(line) for line in printed.splitlines() if line.startswith("scenetags predict ")]


def ref(number: int) -> ImageRef:
    return ImageRef(f"/chips/{number:06}.jpg", 100, "")


def test_a_plan_reports_what_the_input_holds(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--input", str(folder / "*.jpg")) == 0

    printed = capsys.readouterr().out
    size = sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".txt")
    assert printed.startswith(f"15 images, {size / 1000:.1f} kB, listed in ")
    for line in (
        "passed over: .txt 1\n",
        "sample: all 15 images\n",
        "  formats   jpeg 4x8 92.3%, png 3x8 7.7%\n",
        "  repairs   unmarked_rgba_jpeg 92.3%\n",
        "  failures  2 of 15 sampled; expected in total: 2 of 15\n",
        f"e.g. {folder}/empty.jpg: empty file\n",
        "exceeds --max_failure_rate 0.05: a run would end with exit code 3\n",
        "bottleneck: ",
        "on Dataflow, 1 worker of type n2-highcpu-16 (16 vCPUs, 16 GB): 4 min 0 s, $0.06\n",
        "cloud.google.com/dataflow/pricing",
        "assumes vCPUs as fast as cores here",
        "a Dataflow command, move images, list and bundle to gs:// or s3://",
    ):
        assert line in printed


def test_a_run_does_what_was_planned(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("chips/0.jpg\nchips/gone.jpg\nchips/cut.jpg\n")

    output = tmp_path / "with space"
    assert run("--max_failure_rate=0.5", "--threshold=0.25", input_list=tmp_path / "names.txt", output=output) == 0
    printed = capsys.readouterr().out
    [command] = commands(printed)
    assert not output.exists(), "a plan writes nothing"
    assert cli.main([*command[1:], "--progress=off"]) == 0

    told = capsys.readouterr().out
    assert "15 images, " in printed
    assert "; 1 more input could not be listed\n" in printed
    assert "  failures  2 of 15 sampled; expected in total: 3 of 16\n" in printed
    assert told.startswith("16 images: 13 tagged, 3 failed")
    assert f"repairs: unmarked_rgba_jpeg {12}" in told
    assert sorted(os.listdir(output)) == ["failures", "predictions", "runs"]


def test_json_says_what_the_text_says(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(json="plan.json") == 0
    printed = capsys.readouterr().out
    described = json.loads((tmp_path / "plan.json").read_text())

    assert f"{described['found']['inputs']} images, " in printed
    assert described["found"]["passed_over"] == [{"name": ".txt", "count": 1}]
    assert described["sampled"]["sources"] == [{"name": "jpeg 4x8", "count": 12}, {"name": "png 3x8", "count": 1}]
    assert described["sampled"]["expected_failures"] == {"low": 2, "high": 2}
    costs = described["seconds_per_image"]
    for step in ("fetching", "decoding", "model", "pipeline"):
        assert f"  {step:9} {costs[step] * 1e3:6.2f}  " in printed
    assert f"{described['here']['speed']['images_per_second']:.1f} images/s" in printed
    assert f"bottleneck: {described['here']['speed']['bottleneck']}, " in printed
    assert f"{described['sampled']['bytes_per_row']:.0f} bytes per row" in printed
    assert f"${described['cloud']['dollars']:.2f}" in printed
    assert described["command"] in printed.splitlines()
    assert described["cloud_command"] is None


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


def test_nothing_that_can_be_tagged_ends_with_code_3(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    for number in range(3):
        (tmp_path / f"bad/{number}.jpg").write_bytes(b"no image")

    assert run(input=tmp_path / "bad") == 3

    printed = capsys.readouterr().out
    assert "  failures  3 of 3 sampled; expected in total: 3 of 3\n" in printed
    assert "NO IMAGE IN THE SAMPLE COULD BE TAGGED" in printed
    assert not commands(printed)
    assert run(input=tmp_path / "bad", json="-") == 3
    assert json.loads(capsys.readouterr().out)["here"] is None


def test_names_that_are_all_missing_end_with_code_3(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("gone.jpg\n")

    assert run(input=None, input_list=tmp_path / "names.txt") == 3

    printed = capsys.readouterr().out
    assert printed.startswith("0 images, 0 bytes, ")
    assert "  failures  0 of 0 sampled; expected in total: 1 of 1\n" in printed


def test_a_plan_for_nothing_is_one_where_that_is_allowed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()

    assert run("--allow_empty", input=tmp_path / "none") == 0

    printed = capsys.readouterr().out
    assert re.fullmatch(r"0 images, 0 bytes, listed in \d\.\d s\npassed over: inputs without images 1\n", printed)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"input": "gone"}, "no file or folder matches gone"),
        ({"input": "EMPTY"}, "no images in "),
        ({"input": None}, "nothing to tag; give --input PATTERN or --input_list FILE"),
        ({"model": "gone"}, "bundle.json cannot be read"),
        ({"model": None}, "the following arguments are required: --model"),
        (
            {"machine": "n2-highcp-16"},
            "unknown machine type 'n2-highcp-16'; did you mean n2-highcpu-16? use one of",
        ),
        ({"workers": 2, "hours": 1}, "--workers and --hours are mutually exclusive; give one of them"),
        ({"workers": 0}, "--workers must be at least 1, not 0"),
        ({"workers": 3000}, "--workers 3000 exceeds Dataflow's limit of 2,000 per job"),
        ({"hours": "nan"}, "--hours must be greater than 0, not nan"),
        ({"sample": 0}, "--sample must be at least 1, not 0"),
        ({"reads_in_flight": 0}, "--reads_in_flight must be at least 1, not 0"),
        ({"json": "plan.txt"}, "--json plan.txt is neither a local .json file nor -"),
        ({"json": "gone/plan.json"}, "--json gone/plan.json: the folder does not exist; create it first"),
        ({"json": "BUNDLE/bundle.json"}, "is inside the model bundle; choose another file"),
        ({"sampel": 3}, "unknown argument --sampel; did you mean --sample?"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    run: Run, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str], flags: dict[str, Any], reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    named = {"EMPTY": tmp_path / "empty", "BUNDLE/bundle.json": f"{bundle_path}/bundle.json"}

    assert run(**{name: named.get(value, value) for name, value in flags.items()}) == 2

    printed = capsys.readouterr()
    assert printed.err.startswith("scenetags plan: ")
    assert reason in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_an_interrupted_plan_says_so(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check, pressed = interruption.check, threading.Event()

    def press() -> None:
        # Once: threads that list images may still be running when signals are no longer deferred.
        if not pressed.is_set() and signal.getsignal(signal.SIGINT) is interruption._receive:
            pressed.set()
            signal.raise_signal(signal.SIGINT)
        check()

    monkeypatch.setattr(interruption, "check", press)

    assert run() == 130
    assert capsys.readouterr().err == "scenetags plan: interrupted by SIGINT\n"


def test_workers_are_as_was_asked(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, workers, reason in (
        ({}, "1 worker", "one per hour of work"),
        ({"workers": 3}, "3 workers", "as set by --workers"),
        ({"hours": 5}, "1 worker", "the fewest that finish within --hours 5"),
        ({"hours": 0.01}, "1 worker", "no number of workers finishes within --hours 0.01; using one per hour"),
    ):
        assert run(machine="e2-standard-4", **flags) == 0
        printed = capsys.readouterr().out
        assert f"on Dataflow, {workers} of type e2-standard-4 (4 vCPUs, 16 GB): 4 min 0 s, " in printed
        assert f"\n  {reason}" in printed


def test_what_is_in_a_bucket_gets_a_command_for_the_cloud(
    run: Run,
    folder: Path,
    bundle_path: str,
    bucket: Bucket,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stores, "_access", storage.Access())
    for name, source in (("chips", folder), ("bundle", Path(bundle_path))):
        for path in source.rglob("*"):
            if path.is_file():
                storage.write(f"{bucket.path}/{name}/{path.relative_to(source)}", path.read_bytes())

    keys = ("--s3_access_key_id=key", "--s3_secret_access_key=hidden")
    assert run("--fail_fast", *keys, input=f"{bucket.path}/chips", model=f"{bucket.path}/bundle") == 0

    printed = capsys.readouterr().out
    assert "hidden" not in printed
    here, there = (parse_predict(command[2:]) for command in commands(printed))
    assert here.input == there.input == (f"{bucket.path}/chips",)
    assert there.output == "gs://BUCKET/tagged"
    assert (here.fail_fast, there.fail_fast) == (True, False), "a distributed run cannot end for its failures"
    assert "s3_" in str(here.beam_flags)
    assert "s3_" not in str(there.beam_flags), "a distributed run refuses keys"
    flags = check_beam_flags([flag for flag in there.beam_flags if not flag.startswith("--runner")]).get_all_options()
    assert (flags["machine_type"], flags["num_workers"], flags["project"]) == ("n2-highcpu-16", 1, "PROJECT")
    assert "--runner=DataflowRunner" in there.beam_flags


def test_help_lists_every_exit_code_and_an_example_that_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        plan.main(["--help"])
    printed = capsys.readouterr().out

    for code in (0, 2, 3):
        assert f"\n  {code}  " in printed
    [example] = [line for line in printed.splitlines() if line.startswith("  scenetags plan ")]
    assert plan.parse_plan(shlex.split(example)[2:]).hours == 2

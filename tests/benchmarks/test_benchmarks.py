"""The benchmark's arithmetic, its report, and what it refuses; no peer of any weight runs here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import bare, material, precisions, rounds
from benchmarks import report as report_of
from benchmarks.bare import BFLOAT16_POOL, BFLOAT16_QUEUE, INTERPRETER, POOL, QUEUE, Bare, mean, seconds_in_turn
from benchmarks.contenders import BFLOAT16, PEERS, SCENETAGS, Contender, with_opponents
from benchmarks.processes import CommandError, Finished, run
from benchmarks.report import Report
from benchmarks.rounds import Bench, Figures, Round
from benchmarks.rows import WrongRowsError, check_agreement, read_rows
from pipelines.inference.bundle import load_bundle
from pipelines.inference.processor import AVX512
from tests import ROOT

LABELS = ("bright", "green")

BARE = Bare(
    {INTERPRETER: 100.0, POOL: 125.0, QUEUE: 100.0, BFLOAT16_QUEUE: 200.0, BFLOAT16_POOL: 180.0},
    decode=500.0,
    resize=1000.0,
)


def fake(name: str, fault: str = "none") -> Contender:
    return Contender(name, name.title(), (fault, "{images}", "{output}"))


def run_fake(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Finished:
    fault, images, output = command
    paths = Path(images).read_text().splitlines()
    if fault == "crash":
        raise CommandError("ended with code 1: no such luck")
    written = paths[:-1] if fault == "missing" and len(paths) > 1 else paths
    values = [0.9 if fault == "different" else 0.5] * len(written)
    pq.write_table(pa.table({"path": written, "p_bright": values, "p_green": values}), Path(output, "rows.parquet"))
    seconds = 2.0 if fault == "start" else 2.0 + len(paths) / 8
    return Finished(seconds, core_seconds=2 * seconds, peak_bytes=1000)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(material, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(Bench, "measure_bare", lambda self, count: BARE)
    monkeypatch.setattr(rounds, "run", run_fake)
    paths = [f"/chips/{number}.jpg" for number in range(20)]
    return Bench(
        "a bundle", "an int8 bundle", LABELS, paths, 5, [], scenetags=fake("scenetags"), tell=lambda told: None
    )


def figures(images: int, seconds: float) -> Figures:
    return Figures(images, seconds, 1, 2 * seconds, 2, 0)


def round_of(**of: Figures) -> Round:
    return Round(0.1, BARE, 3.0, of)


def test_a_rate_leaves_the_start_out_and_another_does_not() -> None:
    measured = Figures(101, seconds=12.0, seconds_of_one=2.0, core_seconds=3.0, core_seconds_of_one=1.0, peak_bytes=0)

    assert measured.rate == pytest.approx(10.0)
    assert measured.rate_with_start == pytest.approx(101 / 12)
    assert measured.core_ms == pytest.approx(20.0)


def test_ratios_are_taken_within_a_round_and_reported_with_their_spread() -> None:
    peer = Contender("peer", "Peer", (), goal=2.5)
    measured = [round_of(scenetags=figures(101, 11), peer=figures(101, seconds)) for seconds in (21.0, 31.0, 41.0)]
    report = Report(measured, [SCENETAGS, peer], {"Ray Data": ["ray"]}, {})

    assert report.times("peer") == pytest.approx((3.0, 2.0, 4.0))
    assert [(goal.reached.median, goal.met) for goal in report.goals()] == [
        (pytest.approx(0.1), False),
        (pytest.approx(101 / 11 / 100), False),
        (pytest.approx(3.0), True),
        (3.0, False),
    ]
    table = report.table()
    assert "3.00 (2.00 to 4.00) times as fast" in table
    assert "MISSED 0.10 (0.10 to 0.10) of the bare engine, excluding start-up; goal: at least 0.93" in table
    assert "skipped: ray not installed; run pip install 'scenetags[bench]'" in table
    told = json.loads(json.dumps(report.as_json()))
    assert told["rounds"][2]["figures"]["peer"]["rate"] == pytest.approx(2.5)
    assert told["of_engine"].keys() == {INTERPRETER, POOL}
    assert told["of_engine"][POOL]["without"]["median"] == pytest.approx(0.08)
    assert [goal["met"] for goal in told["goals"]] == [False, False, True, False]


def test_a_peer_is_compared_with_scenetags_on_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_of, "bfloat16_units", lambda: AVX512)
    monkeypatch.setattr(bare, "available_cores", lambda: 2)
    peer = Contender("peer", "Peer", (), goal=0.97, against=BFLOAT16.name)
    measured = round_of(scenetags=figures(101, 2), scenetags_bfloat16=figures(151, 2), peer=figures(121, 2))
    report = Report([measured], [SCENETAGS, BFLOAT16, peer], {}, {})

    assert report.times("peer").median == pytest.approx(150 / 120)
    assert report.of_engines()[BFLOAT16_QUEUE].without.median == pytest.approx(150 / 200)
    assert report.of_engines()[BFLOAT16_QUEUE].possible.median == pytest.approx(150 * (1 / 200 + (0.002 + 0.001) / 2))
    assert report.of_engines()[BFLOAT16_POOL].without.median == pytest.approx(150 / 180)
    assert [(goal.wanted, goal.met) for goal in report.goals()[2:5]] == [(0.90, True), (1.3, True), (0.97, True)]
    assert "1.25 (1.25 to 1.25) times as fast with this engine" in report.table()


def test_what_a_peer_is_compared_with_is_measured_too() -> None:
    assert [peer.name for peer in with_opponents(["ray_bfloat16"])] == ["scenetags_bfloat16", "ray_bfloat16"]
    assert [peer.name for peer in with_opponents(["daft_litert"])] == ["daft_litert"]


def test_rates_of_two_measurements_are_averaged_by_their_times() -> None:
    halved = Bare({name: rate / 2 for name, rate in BARE.engines.items()}, BARE.decode / 2, BARE.resize)
    assert mean(BARE, halved).engines == pytest.approx({name: rate / 1.5 for name, rate in BARE.engines.items()})
    assert mean(BARE, halved)[1:] == pytest.approx((500 / 1.5, 1000))


def test_every_contender_is_measured_in_every_round(bench: Bench) -> None:
    bench.peers += [fake("quick"), fake("slow")._replace(slow=True)]

    bench.warm_up()
    measured = bench.measure_round()

    assert measured.figures == {
        "scenetags": Figures(20, 4.5, 2.125, 9.0, 4.25, 1000),
        "quick": Figures(20, 4.5, 2.125, 9.0, 4.25, 1000),
        "slow": Figures(5, 2.625, 2.125, 5.25, 4.25, 1000),
    }
    assert measured.seconds_of_sixteen == 4.0
    assert measured.bare == BARE
    assert not bench.wrong


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("missing", "1 images without a row"),
        ("different", "differ by 0.4"),
        ("crash", "no such luck"),
        ("start", "too few images"),
    ],
)
def test_a_wrong_peer_gets_no_figures(bench: Bench, fault: str, reason: str) -> None:
    bench.peers += [fake("wrong", fault), fake("right")]

    bench.warm_up()
    measured = bench.measure_round()

    assert reason in bench.wrong["wrong"]
    assert [peer.name for peer in bench.peers] == ["right"]
    assert measured.figures.keys() == {"scenetags", "right"}


def test_what_is_compared_with_a_wrong_contender_gets_no_figures(bench: Bench) -> None:
    bench.peers += [fake("wrong", "crash"), fake("right")._replace(against="wrong")]

    bench.warm_up()

    assert bench.wrong["right"] == "wrong, with which it is compared, is wrong"
    assert not bench.peers


def test_rows_agree_with_those_that_they_are_compared_with(bench: Bench) -> None:
    bench.peers += [
        fake("other", "different")._replace(is_exact=False),
        fake("like_other", "different")._replace(against="other"),
        fake("unlike_other")._replace(against="other"),
    ]

    bench.warm_up()
    bench.measure_round()

    assert bench.wrong.keys() == {"unlike_other"}


def test_scenetags_itself_must_be_right(bench: Bench) -> None:
    bench.scenetags = fake("scenetags", "missing")

    with pytest.raises(WrongRowsError, match="1 images without a row"):
        bench.warm_up()


def test_a_row_too_many_is_refused(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"path": ["a", "a"], "p_bright": [0.5, 0.5], "p_green": [0.5, 0.5]}), tmp_path / "1.parquet"
    )

    with pytest.raises(WrongRowsError, match="with more than one row"):
        read_rows(tmp_path, LABELS, ["a"])


def test_a_row_of_another_image_is_refused(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"path": ["a", "b"], "p_bright": [0.5, 0.5], "p_green": [0.5, 0.5]}), tmp_path / "1.parquet"
    )

    with pytest.raises(WrongRowsError, match=r"1 images with unexpected rows, e\.g\. b"):
        read_rows(tmp_path, LABELS, ["a"])


def test_files_without_rows_are_passed_over(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": []}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"path": ["a"], "p_green": [0.25], "p_bright": [0.5]}), tmp_path / "1.parquet")

    assert read_rows(tmp_path, LABELS, ["a"])["a"].tolist() == [0.5, 0.25]


def test_a_probability_that_is_no_number_does_not_agree() -> None:
    good = np.array([0.5, 0.5], np.float32)

    check_agreement({"a": good + 5e-4}, {"a": good})
    with pytest.raises(WrongRowsError, match="differ by nan"):
        check_agreement({"a": good * np.nan}, {"a": good})


def test_memory_is_that_of_all_processes(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    child = "import time; taken = b'x' * 200_000_000; time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"

    # By a process of its own: the peak of this one, which has run other tests, is passed on to those that it starts.
    command, log = [sys.executable, "-c", parent], str(tmp_path / "log.txt")
    measuring = f"from benchmarks.processes import *; print(run({command}, os.environ, Path({log!r})).peak_bytes)"
    peak_bytes = int(subprocess.check_output([sys.executable, "-c", measuring], cwd=ROOT))

    assert 200e6 < peak_bytes < 400e6


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"did not end within 0\.5 s"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, tmp_path / "log.txt", limit=0.5)


def test_ways_to_run_the_engine_take_turns() -> None:
    taken: list[str] = []

    seconds = seconds_in_turn(
        [lambda batch: taken.append("first"), lambda batch: taken.append("second")], np.zeros((256, 1, 1, 3), np.uint8)
    )

    assert taken == ["first", "second", *["first"] * 4, *["second"] * 4, *["first"] * 4, *["second"] * 4]
    assert all(second > 0 for second in seconds)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_is_a_module(peer: Contender) -> None:
    assert importlib.util.find_spec(peer.command[2]) is not None


def test_a_peer_that_is_not_installed_is_known_by_its_modules() -> None:
    assert Contender("peer", "Peer", (), ("numpy", "a_module_of_no_package")).missing() == ["a_module_of_no_package"]


def test_bytecode_is_compiled_although_the_environment_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    environment = material.environment()

    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["PYTHONPYCACHEPREFIX"].startswith(str(material.CACHE))


def test_differences_between_precisions_are_counted(bundle_path: str) -> None:
    bundle = load_bundle(bundle_path)
    [threshold] = set(bundle.thresholds)
    exact = np.full((3, len(bundle.labels)), threshold, np.float32)
    ours = exact.copy()
    ours[0, 0] -= 0.25
    ours[1, 1] += 0.125

    of = precisions.difference(exact, ours, bundle)

    assert of.mean == pytest.approx(0.375 / exact.size)
    assert of.largest == pytest.approx(0.25)
    assert (of.tags, of.images) == (1, 1)

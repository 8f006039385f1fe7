"""`scenetags report`: its figures are those of all rows, and its images those that the rows say."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines import report as command
from pipelines.labels import LabelSource
from pipelines.results.outputs import open_output
from pipelines.results.report import thumbnails
from pipelines.results.report.page import describe, link_to
from pipelines.results.report.survey import Survey, look_over
from pipelines.results.report.tally import BINS, EDGES, bins_of
from tests import image_files
from tests.conftest import Bucket
from tests.pipelines.results.report_outputs import (
    COLUMNS,
    LABELS,
    THRESHOLDS,
    ask,
    draw_probabilities,
    failure,
    footer,
    prediction,
    write_chips,
    write_output,
)
from tests.scene_files import write_scene, write_vrt


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Write an output of 400 rows in two files, of images that are gone."""
    rows = [prediction(f"/gone/{n}.jpg", p) for n, p in enumerate(draw_probabilities(400))]
    failures = [failure(f"/gone/broken{n}.jpg", message=f"at byte {n}") for n in range(9)]
    write_output(tmp_path / "out", rows[:150], failures, name="a")
    write_output(tmp_path / "out", rows[150:], [failure("/gone/x.jpg", "read", "FileNotFoundError", "gone")], name="b")
    return tmp_path / "out"


def look(output: Path, images: int = 0, **options: Any) -> Survey:
    return look_over(open_output(str(output)), options.pop("seed", 0), images, **options)


def make(output: Path | str, page: Path, *flags: str) -> int:
    return command.main([str(output), "--html", str(page), *flags])


def described(page: Path) -> Any:
    [text] = re.findall('<script type="application/json" id="described">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text)


@given(st.lists(st.floats(0, 1, width=32), min_size=1))
def test_a_bin_begins_at_its_edge(drawn: list[float]) -> None:
    probabilities = np.array([[*drawn, *EDGES, *np.nextafter(EDGES[1:], np.float32(0))]], np.float32)

    bins = bins_of(probabilities)

    assert (EDGES[bins] <= probabilities).all()
    assert ((bins == BINS) | (probabilities < np.append(EDGES, 2)[bins + 1])).all()


def test_counts_at_every_threshold_and_of_every_pair_of_tags_are_those_of_sql(output: Path) -> None:
    tally = look(output).tally

    rows = f"from read_parquet('{output}/predictions/*.parquet')"
    for place, (label, column) in enumerate(COLUMNS.items()):
        at = tally.histograms[place][::-1].cumsum()[::-1]
        counts = ", ".join(f"count(*) filter ({column} >= {step / BINS})" for step in range(0, BINS + 1, 7))
        assert at[::7].tolist() == list(ask(f"select {counts} {rows}")[0])
        pairs = ", ".join(f"count(*) filter (list_has_all(tags, ['{label}', '{other}']))" for other in LABELS)
        assert tally.together[place].tolist() == list(ask(f"select {pairs} {rows}")[0])
        reaching = ask(f"select count(*) {rows} where {column} >= {THRESHOLDS[place]}")[0][0]
        assert (tally.reaching[place], tally.tagged[place]) == (reaching, reaching)
    assert tally.rows == 400
    assert tally.untagged == ask(f"select count(*) {rows} where len(tags) = 0")[0][0]


def test_failures_are_counted_by_reason_with_examples(output: Path) -> None:
    first, second = look(output).failures

    assert (first.stage, first.error, first.rows, len(first.examples)) == ("decode", "DamagedImageError", 9, 5)
    assert (second.stage, second.error, second.rows) == ("read", "FileNotFoundError", 1)
    assert {re.sub(r"\D", "", one.path) for one in first.examples} == {one.message[8:] for one in first.examples}


def test_the_images_are_those_at_the_ends_and_at_the_threshold(output: Path) -> None:
    chosen = look(output, images=200).chosen

    rows = f"from read_parquet('{output}/predictions/*.parquet')"
    for place, column in enumerate(COLUMNS.values()):
        of = {
            kind: [float(one.probabilities[place]) for one in chosen if (kind, LABELS[place]) in one.groups]
            for kind in ("surest", "least sure", "just over", "just under")
        }
        for kind, order, where in (
            ("surest", "desc", ""),
            ("least sure", "asc", ""),
            ("just over", "asc", f"where {column} >= {THRESHOLDS[place]}"),
            ("just under", "desc", f"where {column} < {THRESHOLDS[place]}"),
        ):
            expected = ask(f"select {column} {rows} {where} order by 1 {order} limit 12")
            most = sorted(of[kind], reverse=order == "desc")
            assert 6 <= len(most) <= 12
            assert most == [value for (value,) in expected][: len(most)], kind
    assert len(chosen) == 200
    assert sum(any(group.kind == "at random" for group in one.groups) for one in chosen) >= 200 // 6


def test_a_seed_chooses_the_same_images_again_and_another_one_others(output: Path) -> None:
    first, again, other = ([one.row["path"] for one in look(output, images=60, seed=seed).chosen] for seed in (1, 1, 2))

    assert first == again
    assert set(first) != set(other)


def test_thumbnails_have_the_repaired_colours_of_files_members_and_windows(tmp_path: Path) -> None:
    rgb = np.zeros((32, 32, 3), np.uint8) + np.array([200, 120, 40], np.uint8)
    data = image_files.unmarked_rgba_jpeg(rgb, quality=95)
    (tmp_path / "a b#?.jpg").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("in/a.jpg", data)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("b.jpg")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    scene = np.zeros((300, 300, 3), np.uint8)
    scene[:256, 256:] = (10, 20, 200)
    Image.fromarray(scene).save(tmp_path / "scene.tif")
    (tmp_path / "changed.jpg").write_bytes(data)
    names = [
        "a b#?.jpg",
        "x.zip::in/a.jpg",
        "x.tar.gz::b.jpg",
        "scene.tif#xywh=256,0,256,256",
        "changed.jpg",
        "gone.jpg",
    ]
    grid = {"tile": 256, "stride": 256, "min_valid": 0.0, "edge": "pad"}
    rows = [prediction(f"{tmp_path}/{name}", [0.5] * 4, fingerprint="") for name in names]
    rows[4]["fingerprint"] = "1-1"
    write_output(tmp_path / "out", rows, metadata=footer(grid=grid))

    made = look(tmp_path / "out", images=10).thumbnails

    shown = [made[f"{tmp_path}/{name}"] for name in names]
    assert [one.problem for one in shown] == [""] * 4 + [
        "the original has changed since it was tagged",
        "the original is gone",
    ]
    pixels = [np.asarray(Image.open(io.BytesIO(one.picture)))[2:20, 2:20].mean(axis=(0, 1)) for one in shown[:5]]
    assert np.abs(pixels - np.array([[200, 120, 40]] * 3 + [[10, 20, 200], [200, 120, 40]])).max() < 6


def test_paths_that_lead_nowhere_are_named_and_keep_no_page_from_being_made(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    paths = [
        "gs:///x.tar::a.jpg",
        f"{tmp_path}/x.zip::a.jpg",
        f"{tmp_path}#xywh=0,0,9,9",
        "//odd\\udcff.jpg",
        "\0",
    ]
    write_output(tmp_path / "out", [prediction(path, [0.5] * 4) for path in paths if path != "\0"])

    made = thumbnails.make_thumbnails(dict.fromkeys(paths, ""), look(tmp_path / "out").footer)

    assert list(made) != []
    assert all(made[path].problem and not made[path].picture for path in paths)
    assert make(tmp_path / "out", tmp_path / "x.html") == 0


def test_originals_of_relative_paths_are_found_where_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [path] = write_chips(tmp_path / "old", 1)
    row = prediction(path, [0.9] * 4) | {"path": "chip_0.jpg"}
    write_output(tmp_path / "out", [row], metadata=footer(relative=True))
    monkeypatch.chdir(tmp_path / "old")

    problem = look(tmp_path / "out", images=1).thumbnails["chip_0.jpg"].problem
    assert problem == "its path is relative to a folder that no run names: say --relative_to"
    manifest = tmp_path / "out" / "runs" / "a.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"options": {"relative_to": f"{tmp_path}/old"}}))
    assert look(tmp_path / "out", images=1).thumbnails["chip_0.jpg"].picture
    (tmp_path / "old").rename(tmp_path / "new")
    gone = look(tmp_path / "out", images=1)
    assert gone.thumbnails["chip_0.jpg"].problem == "the original is gone"
    assert describe(gone)[-1] == f"if the originals are not below {tmp_path}/old any more, give --relative_to"
    assert make(tmp_path / "out", tmp_path / "x.html", "--relative_to", f"{tmp_path}/new/") == 0
    [image] = described(tmp_path / "x.html")["images"]
    assert (image["path"], image["link"], image["problem"]) == ("chip_0.jpg", f"file://{tmp_path}/new/chip_0.jpg", "")

    write_output(tmp_path / "absolute", [])
    assert make(tmp_path / "absolute", tmp_path / "x.html", "--relative_to", "/a") == 2
    assert "has rows with whole paths; omit --relative_to" in capsys.readouterr().err


def test_windows_of_scenes_of_several_files_have_thumbnails(tmp_path: Path) -> None:
    for name, value in (("red+1.tif", 200), ("green.tif", 120), ("blue.tif", 40)):
        write_scene(tmp_path / name, np.full((1, 64, 64), value, np.uint8), tile=64)
    write_vrt(tmp_path / "all.vrt", ["red+1.tif", "green.tif", "blue.tif"])
    (tmp_path / "deep").mkdir()
    write_vrt(tmp_path / "deep" / "far.vrt", [f"{tmp_path}/green.tif"] * 3)
    names = ["red+1.tif+green.tif+blue.tif", "all.vrt", "red+1.tif+gone.tif+blue.tif", "deep/far.vrt"]
    paths = [f"{tmp_path}/{name}#xywh=0,0,64,64" for name in names]
    rows = [prediction(path, [0.5] * 4, fingerprint="") for path in paths]
    shown = {"bands": [1, 2, 3], "stretch": [[0, 255]] * 3}
    grid = {"tile": 64, "stride": 64, "min_valid": 0.0, "edge": "pad"}
    write_output(tmp_path / "out", rows, metadata=footer(grid=grid, rendering=shown))

    made = look(tmp_path / "out", images=10).thumbnails

    for path in paths[:2]:
        pixels = np.asarray(Image.open(io.BytesIO(made[path].picture)))
        assert np.abs(pixels.mean(axis=(0, 1)) - (200, 120, 40)).max() < 3
    assert made[paths[2]].problem == "the original is gone"
    assert "which lies neither next to it nor below it" in made[paths[3]].problem
    assert "--allow_vrt" not in made[paths[3]].problem


def test_originals_are_fetched_within_a_budget_of_bytes(tmp_path: Path) -> None:
    paths = write_chips(tmp_path / "chips", 10)
    size = os.path.getsize(paths[0])

    made = thumbnails.make_thumbnails(
        dict.fromkeys(paths, ""), look(write_output(tmp_path / "out", [])).footer, int(4.5 * size)
    )

    assert 3 <= sum(bool(one.picture) for one in made.values()) <= 5
    assert {one.problem for one in made.values() if not one.picture} == {
        f"not fetched: all originals together exceed {int(4.5 * size):,} bytes"
    }


def test_storage_that_does_not_answer_does_not_keep_a_report_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "_SECONDS", 0.0)
    paths = write_chips(tmp_path / "chips", 3)

    made = thumbnails.make_thumbnails(dict.fromkeys(paths, ""), look(write_output(tmp_path / "out", [])).footer)

    assert {one.problem for one in made.values()} == {"not fetched: the originals take too long"}


def test_labels_give_the_measures_of_evaluate(tmp_path: Path) -> None:
    from model.quality.evaluation import evaluate

    probabilities = draw_probabilities(300)
    rows = [prediction(f"/gone/{n}.jpg", p) for n, p in enumerate(probabilities)]
    write_output(tmp_path / "out", rows, [failure("/gone/300.jpg")])
    random = np.random.default_rng(1)
    lines = [
        f"{n},{' '.join(t for t in ('clear', 'road', 'cloudy') if random.random() < 0.4) or 'primary'}"
        for n in range(200)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["image_name,tags", *lines, "300,road", "999,road"]))

    source = LabelSource((str(tmp_path / "labels.csv"),))
    survey = look(tmp_path / "out", images=40, labels=source)

    truth = survey.truth
    assert truth
    scores = evaluate(str(tmp_path / "out"), source).scores
    assert [label for label, measured in zip(LABELS, truth.measured, strict=True) if not measured] == ["=water"]
    for place, one in enumerate(scores.labels[:4]):
        tagged = one.predicted if truth.measured[place] else 0
        assert (truth.tagged[place], truth.positive[place].sum()) == (tagged, one.support)
        assert (truth.hits[place] / truth.tagged[place] if truth.tagged[place] else None) == one.precision
    assert (truth.images, truth.unknown) == (200, ("cloudy",))
    assert truth.findings[0].startswith("1 row without an image, skipped: 999")
    assert truth.findings[-1].startswith("1 label of the model that the label file does not have, not measured: =water")
    assert not [one for one in survey.chosen if ("wrong", "=water") in one.groups]
    road = LABELS.index("road")
    missed = [one.probabilities[road] for one in survey.chosen if ("missed", "road") in one.groups]
    given = {int(line.split(",")[0]): line for line in lines}
    assert min(missed) == min(probabilities[n, road] for n, line in given.items() if "road" in line)


def test_rows_that_a_rule_decided_about_keep_their_tags(tmp_path: Path) -> None:
    rows = [prediction("/gone/1.jpg", [0.9] * 4, tags=["road"]), prediction("/gone/2.jpg", [0.9] * 4)]

    tally = look(write_output(tmp_path / "out", rows)).tally

    assert (tally.tagged.tolist(), tally.reaching.tolist()) == ([1, 1, 2, 1], [2, 2, 2, 2])


def test_an_output_of_an_older_version_is_reported_without_what_it_lacks(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    file = write_output(tmp_path / "out", [prediction("/gone/1.jpg", [0.9] * 4)]) / "predictions" / "a.parquet"
    pq.write_table(pq.read_table(file).drop(["repairs", "source", "fingerprint", "width", "run"]), file)

    assert make(tmp_path / "out", tmp_path / "x.html") == 0
    assert described(tmp_path / "x.html")["rows"] == 1


def test_nulls_where_no_run_writes_any_are_nothing(tmp_path: Path) -> None:
    nulls = dict.fromkeys(("tags", "repairs", "source", "width", "height", "fingerprint", "run"))
    rows = [prediction("/gone/1.jpg", [0.9] * 4, **nulls), prediction("/gone/2.jpg", [0.9] * 4, repairs=[None])]
    write_output(tmp_path / "out", rows, [dict.fromkeys(("path", "stage", "error", "message", "fingerprint"))])

    assert make(tmp_path / "out", tmp_path / "x.html") == 0
    page = described(tmp_path / "x.html")
    assert (page["rows"], page["untagged"], page["repairs"]) == (2, 1, [])


def test_an_output_without_rows_and_one_of_failures_are_reported(tmp_path: Path) -> None:
    write_output(tmp_path / "empty", [])
    write_output(tmp_path / "failed", [], [failure("/gone/1.jpg")])

    assert [make(tmp_path / name, tmp_path / f"{name}.html") for name in ("empty", "failed")] == [0, 0]
    assert [described(tmp_path / f"{name}.html")["rows"] for name in ("empty", "failed")] == [0, 0]


def test_an_output_in_a_bucket_is_reported(bucket: Bucket, tmp_path: Path) -> None:
    from pipelines import storage

    data = image_files.unmarked_rgba_jpeg(image_files.picture(32, 32))
    storage.write(f"{bucket.path}/chips/a.jpg", data)
    entry = storage.look_up(f"{bucket.path}/chips/a.jpg")
    write_output(tmp_path / "out", [prediction(entry.path, [0.9] * 4, fingerprint=entry.fingerprint)])
    for file in (tmp_path / "out").rglob("*.*"):
        storage.write(f"{bucket.path}/out/{file.relative_to(tmp_path / 'out')}", file.read_bytes())

    assert make(f"{bucket.path}/out", tmp_path / "x.html") == 0

    page = described(tmp_path / "x.html")
    [image] = page["images"]
    assert (page["rows"], page["all_runs"], image["problem"], image["link"]) == (1, 1, "", "")
    assert base64.b64decode(image["picture"]).startswith(b"\xff\xd8")


class Elements(HTMLParser):
    """Lists the elements of a page, their attributes, and the text of its title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


EVIL = "</script><script>alert(1)</script><img src=//x onerror=alert(1)><!--\"'&$title\u202e\n"


def test_names_of_strangers_are_data_in_a_report(output: Path, tmp_path: Path) -> None:
    columns = {**COLUMNS, EVIL: "p_road"}
    del columns["road"]
    labels = [EVIL if label == "road" else label for label in LABELS]
    metadata = footer(labels=labels, columns=columns, bundle=EVIL)
    hostile = [EVIL, "=cmd|' /C calc'!A0", "long" * 1000]
    rows = [prediction(f"/gone/{name}.jpg", [0.9] * 4, tags=[EVIL], source=EVIL, repairs=[EVIL]) for name in hostile]
    write_output(tmp_path / f"<b>{EVIL[-9:]}", rows, [failure(EVIL, EVIL, EVIL, EVIL)], metadata=metadata)

    assert make(tmp_path / f"<b>{EVIL[-9:]}", tmp_path / "evil.html") == 0
    assert make(output, tmp_path / "other.html") == 0

    evil, other = (Elements((tmp_path / name).read_text()) for name in ("evil.html", "other.html"))
    assert evil.names == other.names
    page = described(tmp_path / "evil.html")
    shown = EVIL.replace("\u202e\n", "\\u202e\\n")
    assert [tag["name"] for tag in page["tags"]] == [shown if label == "road" else label for label in LABELS]
    assert page["images"][0]["path"] == f"/gone/{shown}.jpg"
    # Into the JSON of thresholds goes the label itself.
    assert EVIL in [tag["key"] for tag in page["tags"]]


def test_the_page_of_a_report_may_run_its_own_script_and_reach_nothing(output: Path, tmp_path: Path) -> None:
    assert make(output, tmp_path / "x.html") == 0

    page = (tmp_path / "x.html").read_text()
    elements = Elements(page)
    [policy] = [value for name, value in elements.attributes if name == "content" and "src" in str(value)]
    assert re.fullmatch(
        "default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'",
        str(policy),
    )
    assert [value for name, value in elements.attributes if name in ("src", "href")] == ["#images"]
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "style"]


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("/a b/ü#1.jpg", "file:///a%20b/%C3%BC%231.jpg"),
        ("/a/scene.tif#xywh=0,0,256,256", "file:///a/scene.tif"),
        ("/a/b+1.tif+green.tif+blue.jp2#xywh=0,0,256,256", "file:///a/b%2B1.tif"),
        ("gs://bucket/x.zip::in/a.jpg", "https://storage.cloud.google.com/bucket/x.zip"),
        ("s3://bucket/a&b/1.jpg", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=a%26b%2F1.jpg"),
        ("hdfs://host/a.jpg", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_a_link_leads_to_the_file_of_an_original(path: str, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)

    assert link_to(path) == link


def _break(output: Path, how: str) -> None:
    file = output / "predictions" / "a.parquet"
    if how == "half-written":
        file.write_bytes(file.read_bytes()[:-40])
    elif how == "foreign":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"x": [1]}), file)
    elif how == "of two models":
        write_output(output, [], metadata=footer(bundle="c" * 64), name="c")
    elif how == "not a number":
        write_output(output, [prediction("/gone/1.jpg", [float("nan")] * 4)], name="c")
    elif how == "without a path":
        write_output(output, [prediction("/gone/1.jpg", [0.1] * 4) | {"path": None}], name="c")
    elif how == "unknown tag":
        write_output(output, [prediction("/gone/1.jpg", [0.1] * 4, tags=["x"])], name="c")
    elif how == "bad manifest":
        (output / "runs" / "a.json").write_text('{"run": "x", "status": "done", "inputs": "many"}')
    elif how == "empty":
        for one in output.rglob("*.parquet"):
            one.unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("half-written", "a.parquet is damaged or not a Parquet file"),
        ("foreign", "scenetags did not write"),
        ("of two models", "holds predictions made with several models; keep each in a folder of its own"),
        ("not a number", "holds a value that is not a probability, so scenetags did not write it"),
        ("without a path", "holds a row without a path"),
        ("unknown tag", "holds a tag that is not a label of its model"),
        ("bad manifest", "a.json is not a manifest"),
        ("empty", "has no predictions/*.parquet"),
    ],
)
def test_an_output_that_cannot_be_read_as_a_whole_is_one_line(
    how: str, said: str, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _break(output, how)

    assert make(output, tmp_path / "x.html") == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["gone", "--html=x.html"], "no folder at gone; give the --output of `scenetags predict`"),
        (["out"], "the following arguments are required: --html"),
        (["out", "--html=x.pdf"], "--html x.pdf is not a local .html file"),
        (["out", "--html=gs://b/x.html"], "--html gs://b/x.html is not a local .html file"),
        (["out", "--html=gone/x.html"], "--html gone/x.html: the folder does not exist; create it first"),
        (["out", "--html=x.html", "--images=2000"], "2000 is too large; the maximum is 1000"),
        (["out", "--html=x.html", "--labels=gone.csv"], "gone.csv: No such file or directory"),
    ],
)
def test_flags_of_a_report_that_cannot_be_carried_out_are_one_line(
    flags: Sequence[str],
    said: str,
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert command.main(flags) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_the_command_says_what_is_on_the_page_and_what_is_missing(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(output, tmp_path / "x.html", "--images", "50") == 0

    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'x.html'}: 0.1 MB"
    assert others == [
        "  400 predictions, 10 failures",
        "  50 images shown, 0 thumbnails",
        "  without a thumbnail: 50, most often because the original is gone",
    ]
    page = described(tmp_path / "x.html")
    packed = zlib.decompress(base64.b64decode(re.findall('id="data">(.*?)<', (tmp_path / "x.html").read_text())[0]))
    assert len(packed) == 4 * (len(LABELS) * (BINS + 1) + 50 * len(LABELS))
    assert [run["run"] for run in page["runs"]] == ["run-b", "run-a"]
    assert all(run["balanced"] for run in page["runs"])


def test_no_image_is_read_where_none_is_wanted(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.results.report.survey.make_thumbnails", None)

    assert make(output, tmp_path / "x.html", "--images", "0") == 0
    assert described(tmp_path / "x.html")["images"] == []

"""`scenetags report`: its figures are those of all rows, and its images those that the rows say."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.labels import LabelSource
from pipelines.results.report.tally import BINS, EDGES, bins_of
from tests.pipelines.results.report_outputs import (
    COLUMNS,
    LABELS,
    THRESHOLDS,
    ask,
    described,
    draw_probabilities,
    failure,
    look,
    make,
    prediction,
    write_many,
    write_output,
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return write_many(tmp_path / "out")


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


def test_lines_of_a_list_that_name_nothing_are_no_images_for_labels(tmp_path: Path) -> None:
    from model.quality.evaluation import evaluate

    paths = ("/c/k.jpg", "/c/x/k.jpg")
    places = ("line 6 of /l.csv", "row 1,234 in 0.parquet of /l", "xxx... (line 7 of /l.csv)")
    failures = [failure(path, "list", "NoNameError") for path in places] + [failure("/c/gone.jpg", "list")]
    write_output(tmp_path / "out", [prediction(path, draw_probabilities(1)[0]) for path in paths], failures)
    (tmp_path / "labels.csv").write_text("image_name,tags\nk.jpg,clear\nx/k.jpg,road\n")
    source = LabelSource((str(tmp_path / "labels.csv"),))

    truth = look(tmp_path / "out", labels=source).truth

    assert truth
    assert truth.images == 2, "a path below the folder of all images is not ambiguous"
    told = "1 image that the labels do not list, skipped: gone.jpg"
    assert told in truth.findings
    assert told in map(str, evaluate(str(tmp_path / "out"), source).findings)


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
    assert truth.findings[0].startswith("1 row of the label file without an image, skipped: 999")
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
    monkeypatch.setattr("pipelines.results.report.survey.make_thumbnails_of_rows", None)

    assert make(output, tmp_path / "x.html", "--images", "0") == 0
    assert described(tmp_path / "x.html")["images"] == []

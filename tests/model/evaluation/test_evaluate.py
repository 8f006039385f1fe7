"""`scenetags evaluate` measures a real prediction output, and says what it left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from model import evaluate
from pipelines import cli
from tests.bundles import LABELS
from tests.model.evaluation.conftest import IMAGES, Chips, Evaluate, as_predicted, copied, f2


def test_the_bundle_tells_the_chips_apart(chips: Chips) -> None:
    assert len({frozenset(tags) for tags in chips.tags.values()}) > 1
    assert set().union(*chips.tags.values()) > {"green"}


def test_labels_equal_to_the_predictions_score_1(run: Evaluate, chips: Chips) -> None:
    told = json.loads(run(*as_predicted(chips), flags=("--json", "-")).out)
    assert [told["f2_over_samples"], told["micro_f1"], told["macro_f1"]] == [1, 1, 1]
    assert told["mean_average_precision"] == 1
    assert told["images"] == len(as_predicted(chips))


def test_the_output_stands_by_itself_as_in_other_commands(
    run: Evaluate, chips: Chips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = run(*as_predicted(chips)).out
    labels = ["--labels", str(tmp_path / "labels.csv")]
    for words in ([str(chips.output), *labels], [*labels, str(chips.output)]):
        assert evaluate.main(words) == 0
        assert capsys.readouterr().out == expected
    for words, said in (
        (labels, "OUTPUT is missing; name the --output of predict"),
        ([*labels, "a", "--predictions", "b"], "OUTPUT and --predictions are the same, and both are given; omit one o"),
        ([*labels, "a", "b"], "unexpected argument b (see scenetags evaluate --help)"),
    ):
        assert evaluate.main(words) == 2
        assert capsys.readouterr().err.startswith(f"scenetags evaluate: {said}")


def test_measures_are_those_of_the_rows(run: Evaluate, chips: Chips) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    truth = {name: {label for label in LABELS if rng.random() < 0.5} | {"green"} for name in chips.tags}
    truth["chip_0"] = {"blue"}
    told = json.loads(run(*(f"{n},{' '.join(tags)}" for n, tags in truth.items()), flags=("--json", "-")).out)
    assert told["images"] == IMAGES
    assert told["f2_over_samples"] == pytest.approx(np.mean([f2(truth[name], chips.tags[name]) for name in truth]))
    for label in LABELS:
        has = {name for name in truth if label in truth[name]}
        given = {name for name in truth if label in chips.tags[name]}
        of_label = told["labels"][label]
        assert (of_label["support"], of_label["predicted"]) == (len(has), len(given))
        assert of_label["recall"] == pytest.approx(len(has & given) / len(has))
        assert of_label["precision"] == (pytest.approx(len(has & given) / len(given)) if given else None)
        expected = sklearn.average_precision_score(
            [name in has for name in truth], [chips.probabilities[name][label] for name in truth]
        )
        assert of_label["average_precision"] == pytest.approx(expected)


def test_the_keys_of_the_json_are_stable(run: Evaluate, chips: Chips) -> None:
    told = json.loads(run(*as_predicted(chips), flags=("--json", "-")).out)
    assert list(told) == [
        "model",
        "computed_in",
        "predictions",
        "label_file",
        "failed_images",
        "unknown_labels",
        "never_given",
        "findings",
        "images",
        "beta",
        "f2_over_samples",
        "micro_f1",
        "macro_f1",
        "mean_average_precision",
        "labels",
        "expected_calibration_error",
        "brier_score",
        "log_loss",
        "bins",
    ]
    assert list(told["labels"]) == list(LABELS)
    assert list(told["labels"]["blue"]) == [
        *("support", "predicted", "precision", "recall", "average_precision", "highest_probability")
    ]


def test_every_key_of_the_json_is_in_the_help(run: Evaluate, chips: Chips, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(run(*as_predicted(chips), flags=("--json", "-")).out)
    with pytest.raises(SystemExit) as exited:
        evaluate.main(["--help"])
    page = capsys.readouterr().out
    assert exited.value.code == 0
    assert [key for key in (*told, *told["labels"]["blue"], *told["bins"][0]) if key not in page] == []


def test_the_screen_shows_measures_labels_and_what_was_left_out(run: Evaluate, chips: Chips) -> None:
    rows = as_predicted(chips)
    told = run(*rows[1:], "broken,green", "chip_99,blue")
    assert told.exit_code == 0
    lines = told.out.splitlines()
    assert lines[0].startswith(f"{len(rows) - 1} images measured, predicted by the model ")
    assert any("labelled image that predict failed on, not measured" in line for line in lines)
    assert any("1 row of the label file without an image" in line and "chip_99" in line for line in lines)
    assert any("1 image that the labels do not list" in line and rows[0].split(",")[0] in line for line in lines)
    assert any(line.split() == ["F2", "over", "samples", "1.000"] for line in lines)
    first = next(at for at, line in enumerate(lines) if line.startswith("label "))
    table = lines[first : first + 1 + len(LABELS)]
    assert table[0].split() == ["label", "support", "predicted", "precision", "recall", "average", "precision"]
    assert [line.split()[0] for line in table[1:]] == list(LABELS)
    assert len({len(line) for line in table}) == 1


def test_labels_that_the_model_does_not_know_count_as_missed(run: Evaluate, chips: Chips) -> None:
    rows = [f"{row} road" for row in as_predicted(chips)]
    named = [row.split(",")[0] for row in rows]
    told = run(*rows, flags=("--json", "-"))
    scores = json.loads(told.out)
    assert scores["unknown_labels"] == ["road"]
    expected = np.mean([f2(chips.tags[name] | {"road"}, chips.tags[name]) for name in named])
    assert scores["f2_over_samples"] == pytest.approx(expected)
    unknown = {"support": len(rows), "predicted": 0, "precision": None, "recall": 0, "average_precision": None}
    assert scores["labels"]["road"] == {**unknown, "highest_probability": None}
    assert "road" not in scores["never_given"], "the model cannot give it"
    assert scores["mean_average_precision"] == 1
    measured = set().union(*chips.tags.values())
    assert sum(of["count"] for of in scores["bins"]) == len(rows) * len(measured)
    assert "labels the model does not know, counted as missed: road" in run(*rows).out


def test_a_label_that_the_file_never_has_is_shown_with_support_0(run: Evaluate, chips: Chips) -> None:
    told = json.loads(run("chip_0,green", "chip_1,green", flags=("--json", "-")).out)
    assert told["labels"]["blue"]["support"] == 0
    assert told["labels"]["blue"]["recall"] is None
    assert told["labels"]["blue"]["average_precision"] is None


def test_labels_that_the_file_does_not_have_are_not_measured(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    rows = [f"{name}.jpg,{int('green' in tags)}" for name, tags in chips.tags.items()]
    file = tmp_path / "green.csv"
    file.write_text("\n".join(["image,green", *rows]))
    # The fixture's own --labels is there, too: the tags of all other images are unknown.
    told = run("chip_99,green", flags=("--labels", str(file), "--json", str(tmp_path / "scores.json")))
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["images"], scores["f2_over_samples"], scores["micro_f1"]) == (IMAGES, 1, 1)
    without = sorted(set(LABELS) - {"green"})
    [finding] = [finding for finding in scores["findings"] if "does not have" in finding["what"]]
    assert (finding["what"], sorted(finding["names"])) == (
        "labels of the model that the label file does not have, not measured",
        without,
    )
    assert f"{len(without)} labels of the model that the label file does not have, not measured: " in told.out
    tagged = sum("blue" in tags for tags in chips.tags.values())
    unmeasured = {"support": 0, "predicted": tagged, "precision": None, "recall": None, "average_precision": None}
    highest = max(of_image["blue"] for of_image in chips.probabilities.values())
    assert scores["labels"]["blue"] == {**unmeasured, "highest_probability": highest}


def test_the_score_of_another_beta_is_under_a_key_of_its_own(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    rows = [f"{row} road" for row in as_predicted(chips)]
    told = run(*rows, flags=("--beta", "0.5", "--json", str(tmp_path / "scores.json")))
    scores = json.loads((tmp_path / "scores.json").read_text())
    named = [chips.tags[row.split(",")[0]] for row in rows]
    assert (scores["beta"], "f2_over_samples" in scores) == (0.5, False)
    # Every tag is right and one is missed: 1.25 hits against a quarter of the true tags and all that were given.
    expected = np.mean([1.25 * len(tags) / (0.25 * (len(tags) + 1) + len(tags)) for tags in named])
    assert scores["f0_5_over_samples"] == pytest.approx(expected)
    assert f"F0.5 over samples       {expected:.3f}" in told.out


@pytest.mark.parametrize(
    ("reaches", "why"),
    [
        (False, "always below the threshold"),
        (True, "always removed by the rules of the output where they reach the threshold"),
    ],
)
def test_tags_that_are_never_given_are_named_with_the_reason(
    run: Evaluate, chips: Chips, tmp_path: Path, reaches: bool, why: str
) -> None:
    file = copied(chips, tmp_path / "out")
    rows = pq.read_table(file)
    if not reaches:
        place = rows.column_names.index("p_blue")
        rows = rows.set_column(place, rows.field(place), pa.array([0.0] * len(rows), pa.float32()))
    without = [[tag for tag in tags if tag == "green"] for tags in rows["tags"].to_pylist()]
    pq.write_table(rows.set_column(1, "tags", pa.array(without, pa.list_(pa.string()))), file)
    chip, *others = chips.tags
    truth = [f"{chip},blue green", *(f"{name},green" for name in others)]
    told = run(*truth, flags=("--json", str(tmp_path / "scores.json")), predictions=tmp_path / "out")
    never_given = json.loads((tmp_path / "scores.json").read_text())["never_given"]
    assert never_given == {"blue": why}, "of labels that the file has"
    assert f"1 tag never given, {why}: blue\n" in told.out


def test_columns_may_be_named(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    file = tmp_path / "photos.csv"
    lines = [f"{n},C:\\data\\{name}.jpg,{'/'.join(tags)}" for n, (name, tags) in enumerate(chips.tags.items()) if tags]
    file.write_text("\n".join(["image,Photo,Seen", *lines]))
    flags = ("--image_column=Photo", "--tags_column=Seen", "--separator=/", "--json=-")
    assert evaluate.main([f"--predictions={chips.output}", f"--labels={file}", *flags]) == 0


def test_the_folder_predictions_is_as_good_as_the_output(run: Evaluate, chips: Chips) -> None:
    rows = (*as_predicted(chips), "broken,green")
    whole = json.loads(run(*rows, flags=("--json", "-")).out)
    inner = json.loads(run(*rows, flags=("--json", "-"), predictions=chips.output / "predictions").out)
    assert whole["failed_images"] == 1
    assert {**inner, "predictions": None} == {**whole, "predictions": None}


def test_json_goes_to_a_file_beside_the_table(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    told = run(*as_predicted(chips), flags=("--json", str(tmp_path / "scores.json")))
    assert "F2 over samples" in told.out
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written == json.loads(run(*as_predicted(chips), flags=("--json", "-")).out)


def test_two_rows_of_an_image_are_refused(chips: Chips, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = copied(chips, tmp_path / "out")
    file.with_name("2000-older.parquet").write_bytes(file.read_bytes())
    labels = tmp_path / "labels.csv"
    labels.write_text("image_name,tags\nx,clear\n")
    assert evaluate.main([str(tmp_path / "out"), "--labels", str(labels)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/out/predictions has two rows for {chips.output.parent}" in said
    assert said.endswith("; move out the file that no run wrote\n"), "what a run replaces is refused in other words"


def test_the_reliability_diagram_is_drawn(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    drawing = tmp_path / "reliability.png"
    told = run(*as_predicted(chips), flags=(f"--picture={drawing}",))
    assert (told.exit_code, told.out.count("Brier score")) == (0, 1)
    with Image.open(drawing) as drawn:
        drawn.load()
    told = run(*as_predicted(chips), flags=("--picture=reliability.svg",))
    assert (told.exit_code, told.err) == (2, "scenetags evaluate: --picture reliability.svg is not a .png file\n")


def test_the_command_is_one_of_scenetags(
    run: Evaluate, chips: Chips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*as_predicted(chips))
    assert cli.main(["evaluate", f"--predictions={chips.output}", f"--labels={tmp_path / 'labels.csv'}"]) == 0
    assert "F2 over samples" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    run(*as_predicted(chips))
    arguments = [f"--predictions={chips.output}", f"--labels={tmp_path / 'labels.csv'}"]
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "model.evaluate", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_it_needs_nothing_that_only_training_brings(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    run(*as_predicted(chips))
    arguments = [f"--predictions={chips.output}", f"--labels={tmp_path / 'labels.csv'}"]
    program = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'sklearn', 'pandas', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"  # so that importing it fails, as where it is not installed
        "from pipelines import cli\n"
        f"sys.exit(cli.main(['evaluate', *{arguments!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""Training ends in a bundle that both engines agree on, with the figures that were measured."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import train
from model.data import dataset
from model.data.learnt import read_learnt
from model.data.listing import versions
from model.quality import calibration, metrics, thresholds
from model.synthetic import chips as synthetic
from model.training import figures, fitting, reading, session, settings
from pipelines import predict
from pipelines.commandline.parser import UsageError
from pipelines.errors import ScenetagsError
from pipelines.inference.bundle import Bundle, BundleError, load_bundle
from pipelines.inference.engines import EngineStartError, open_engine
from pipelines.inference.processor import bfloat16_units
from pipelines.supervision.temporary import TemporaryFolderError
from tests.bundles import IMAGE_SIZE
from tests.model.conftest import CHIPS, SMALL, Trained, flags
from tests.model.small import small_networks
from tests.outputs import rows

pytestmark = pytest.mark.usefixtures("tensorflow")

SIZE = IMAGE_SIZE


@pytest.fixture(scope="module")
def bundle(trained: Trained) -> Bundle:
    return trained.bundle


def test_training_writes_a_bundle_that_describes_itself(bundle: Bundle) -> None:
    assert bundle.name == "tiny"
    assert bundle.image_size == SIZE
    assert set(synthetic.WEATHER) < set(bundle.labels)
    assert bundle.training["repairs"] == {"unmarked_rgba_jpeg": CHIPS}
    assert bundle.training["train_images"] + bundle.training["validation_images"] == CHIPS
    learnt = read_learnt(bundle)
    assert (len(learnt.digests), learnt.is_complete) == (2 * bundle.training["train_images"], True)
    card = bundle.read("MODEL_CARD.md").decode()
    assert "> Drawn by code." in card
    assert f"`unmarked_rgba_jpeg` on {CHIPS}" in card
    beside = Path(bundle.path).with_name("tiny.training")
    assert sorted(path.name for path in beside.iterdir()) == ["history.csv", "tensorboard"]
    assert sorted(path.name for path in beside.parent.iterdir()) == ["tiny", "tiny.training"]


def test_network_figures_and_thresholds_are_those_after_calibration(trained: Trained) -> None:
    bundle, facts = trained.bundle, trained.facts
    assert bundle.metrics["temperature"] == 1.5
    assert bundle.metrics["too_few_to_calibrate"] == list(bundle.labels)
    found = fitting.predict(trained.model, trained.validation, batch_size=8)
    np.testing.assert_allclose(found, facts.probabilities, atol=1e-5)
    truth = trained.validation.targets > 0.5
    assert bundle.thresholds == tuple(thresholds.tune(truth, facts.probabilities).each)


@pytest.mark.skipif(not bfloat16_units() or not find_spec("openvino"), reason="bfloat16 cannot be measured here")
def test_training_states_the_quality_in_bfloat16(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (figures._AT_ONCE + 3, SIZE, SIZE, 3), np.uint8)
    targets = open_engine(bundle).predict(pixels) >= np.array(bundle.thresholds, np.float32)

    figures.print_quality_in_bfloat16(
        bundle,
        dataset.Examples(pixels, np.arange(len(pixels)), targets.astype(np.float32)),
        2.0,
        np.ones(targets.shape[1], bool),
    )

    printed = capsys.readouterr().out
    assert re.fullmatch(
        r"in bfloat16 \(predict --precision bfloat16\): F2 over samples (0\.9\d\d|1\.000) on .*\n", printed
    )


@pytest.mark.parametrize("error", [EngineStartError, TemporaryFolderError, BundleError])
def test_a_training_that_cannot_measure_in_bfloat16_has_succeeded_all_the_same(
    error: type[ScenetagsError], bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error("no room", "make some")

    monkeypatch.setattr(figures, "can_bfloat16", lambda *_: True)
    monkeypatch.setattr(figures, "open_engine", fail)
    examples = dataset.Examples(np.zeros((1, SIZE, SIZE, 3), np.uint8), np.arange(1), np.zeros((1, 1), np.float32))
    figures.print_quality_in_bfloat16(bundle, examples, 2.0, np.ones(1, np.bool_))
    assert re.fullmatch(r"(not measured|do not use this bundle) in bfloat16: no room.*\n", capsys.readouterr().out)


def test_a_training_takes_size_and_width_from_the_bundle_that_it_starts_from(
    bundle: Bundle, training_chips: Path, tmp_path: Path
) -> None:
    command = [*flags(training_chips, tmp_path / "bundle"), "--weights", bundle.path]
    parsed = settings.parse(command)
    assert (parsed.image_size, parsed.alpha, parsed.weights) == (SIZE, 0.35, bundle)
    assert (parsed.fit, parsed.resize_filter) == ("squash", bundle.resize_filter)
    other = settings.parse([*command, "--image_size", "64", "--fit", "crop"])
    assert (other.image_size, other.resize_filter) == (64, "bilinear16+crop")
    with pytest.raises(UsageError, match=r"the bundle in --weights has alpha 0\.35; omit --alpha"):
        settings.parse([*command, "--alpha", "1"])


def test_predict_gives_real_chips_the_probabilities_of_the_training_reader(
    trained: Trained, planet: Path, tmp_path: Path
) -> None:
    chips = sorted(str(path) for path in (planet / "jpg").iterdir())
    decoded = dataset.decode(versions(chips), SIZE, tmp_path / "cache")
    count = len(trained.bundle.labels)
    examples = dataset.Examples(decoded.pixels, decoded.readable, np.zeros((len(chips), count), np.float32))
    expected = dict(zip(chips, fitting.predict(trained.model, examples, batch_size=8), strict=True))
    output = str(tmp_path / "tagged")
    assert predict.main(["--input", str(planet / "jpg"), "--model", trained.bundle.path, "--output", output]) == 0
    found = rows(output)
    assert len(found) == len(chips) == 20
    for row in found:
        probabilities = [row[f"p_{label}"] for label in trained.bundle.labels]
        np.testing.assert_allclose(probabilities, expected[row["path"]], atol=1e-4, err_msg=row["path"])


def test_an_int8_file_is_measured_on_images_that_its_network_has_not_learnt(
    training_chips: Path, tmp_path: Path
) -> None:
    wanted = settings.parse([*flags(training_chips, tmp_path / "bundle"), "--quantize", "int8"])
    assert wanted.final_epochs == 5, "as without it, so that either can be resumed as the other"
    assert session._learn_all(None, None, wanted) == 0  # type: ignore[arg-type]


def test_held_out_images_are_learnt_at_last_unless_the_user_has_chosen_them(
    training_chips: Path, tmp_path: Path
) -> None:
    given = flags(training_chips, tmp_path / "bundle")
    assert settings.parse(given).final_epochs == 5
    assert [settings.parse([*given, "--finetune_epochs", few]).final_epochs for few in ("0", "1", "4")] == [0, 1, 2]
    for chosen in (["--split_column", "fold"], ["--validation_labels", given[3]], ["--weights", "none"]):
        assert settings.parse([*given, *chosen]).final_epochs == 0
        assert settings.parse([*given, *chosen, "--final_epochs", "2"]).final_epochs == 2


def test_labels_that_nobody_judged_the_held_out_images_by_count_for_nothing(
    training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = (training_chips / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([header, *lines[20:]]))
    names = [line.split(",")[0] for line in lines[:20]]
    is_clear = np.array([["clear" in line] for line in lines[:20]])
    judged = [f"{name},{int(has)}" for name, has in zip(names, is_clear[:, 0], strict=True)]
    (tmp_path / "held_out.csv").write_text("\n".join(["image_name,clear", *judged]))
    command = ["--images", str(training_chips / "jpg"), "--labels", str(tmp_path / "labels.csv"), *SMALL]
    command += ["--validation_labels", str(tmp_path / "held_out.csv"), "--output", str(tmp_path / "bundle")]
    command += ["--finetune_epochs", "1"]

    assert train.main([*command, "--final_epochs", "1"]) == 2
    told = capsys.readouterr()
    assert "--final_epochs 1: the held-out images cannot be trained on, because --va" in told.err
    assert told.err.rstrip().endswith("; add what is missing to that file, or omit --final_epochs")
    assert not list(tmp_path.glob("bundle*")), "before an image is decoded"

    with small_networks():
        assert train.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("(kept) marks an epoch whose weights would be exported") == 1
    assert printed.index("(kept) marks ") < printed.index(" (kept), "), "said before it is used"
    bundle = load_bundle(str(tmp_path / "bundle"))
    # Everything is as if the labels were not there.
    chips = [str(training_chips / "jpg" / f"{name}.jpg") for name in names]
    decoded = dataset.decode(versions(chips), SIZE, tmp_path / "cache")
    probabilities = open_engine(bundle).predict(decoded.pixels)
    clear = [bundle.labels.index("clear")]
    correction = calibration.Correction(
        bundle.metrics["temperature"], np.array([bundle.metrics["labels"][label]["bias"] for label in bundle.labels])
    )
    raw = correction.undo(probabilities)[:, clear]
    [epoch] = bundle.training["history"]
    log_loss = float(-np.log(np.where(is_clear, raw, 1 - raw)).mean())
    assert epoch["validation_loss"] == pytest.approx(log_loss, abs=1e-3)
    assert epoch["validation_map"] == pytest.approx(metrics.mean_average_precision(is_clear, raw), abs=1e-3)
    fitted = calibration.fit(is_clear, raw).correction
    assert correction.temperature == pytest.approx(fitted.temperature, rel=0.01)
    assert correction.biases == pytest.approx(fitted.biases.repeat(len(bundle.labels)), abs=0.01)
    tuned = thresholds.tune(is_clear, probabilities[:, clear])
    expected = [tuned.each[0] if label == "clear" else tuned.flat for label in bundle.labels]
    assert bundle.thresholds == pytest.approx(expected, abs=1e-6)
    tags = probabilities[:, clear] >= np.float32(tuned.each)
    assert bundle.metrics["f2_over_samples"] == pytest.approx(metrics.fbeta_over_samples(is_clear, tags), abs=1e-6)
    assert bundle.metrics["uncalibrated"]["log_loss"] == pytest.approx(log_loss, abs=1e-3)
    assert not read_learnt(bundle).has(np.stack([decoded.digests, decoded.digests], axis=1)).any()


def test_urls_of_files_are_taken_for_paths(training_chips: Path, tmp_path: Path) -> None:
    given = flags(training_chips, tmp_path / "my bundle")
    urls = [word if word.startswith("--") else Path(word).as_uri() for word in given]
    assert urls[-1].endswith("/my%20bundle")
    parsed = settings.parse(urls)
    assert parsed.output == tmp_path / "my bundle"
    assert (parsed.images, parsed.name) == (str(training_chips / "jpg"), "my bundle")
    assert reading.find(parsed).tags == reading.find(settings.parse(given)).tags

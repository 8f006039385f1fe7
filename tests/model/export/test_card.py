"""A model card says everything, and nothing in it breaks its Markdown."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.export import card, quantization
from model.quality import measuring, summaries
from model.quality.facts import Facts
from model.quality.measuring import Quality
from pipelines.images.rendering import Rendering
from pipelines.labels import LabelOptions, LabelSource
from tests.model.quality import facts as model_facts

markdown_it = pytest.importorskip(
    "markdown_it", reason="markdown-it-py is not installed: pip install 'scenetags[test]'"
)

VERSIONS = {"python": "3.11.9", "ai-edge-litert": "2.1.0"}


@pytest.fixture(scope="module")
def told() -> Facts:
    return model_facts.facts()


@pytest.fixture(scope="module")
def quality(told: Facts) -> Quality:
    return measuring.measure(told)


@pytest.fixture(scope="module")
def written(told: Facts, quality: Quality) -> str:
    return card.write(told, quality, VERSIONS)


def parsed(text: str) -> list[tuple[str, str]]:
    """Read Markdown as GitHub does: what each piece of text is inside of, and the text as a reader sees it."""
    inside, seen = [], []
    for token in markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.nesting == 1:
            inside.append(token.tag)
        elif token.nesting == -1:
            inside.pop()
        elif token.type == "inline":
            kinds = {child.type for child in token.children} - {"text", "text_special", "softbreak"}
            text = "".join(child.content for child in token.children)
            seen.append((" ".join([*inside, *sorted(kinds)]), text))
    return seen


def cells(text: str) -> list[str]:
    return [content for inside, content in parsed(text) if inside.startswith("table tbody")]


def row(text: str, first: str) -> list[str]:
    """Read the cells of the table row whose first cell is this."""
    every = [content for inside, content in parsed(text) if inside.startswith("table")]
    start = every.index(first)
    return every[start : start + 7]


def test_labels_are_shown_as_they_are_named(written: str) -> None:
    every = cells(written)
    assert [cell for cell in every if cell in model_facts.LABELS] == list(model_facts.LABELS)


@given(name=st.text(min_size=1).filter(str.strip), note=st.text())
def test_no_name_and_no_note_breaks_the_card(name: str, note: str) -> None:
    told = model_facts.facts()
    labels = (name, *told.labels[1:])
    told = dataclasses.replace(told, name=name, note=note, labels=labels)
    text = card.write(told, measuring.measure(told), VERSIONS)
    contents = parsed(text)
    shown = " ".join(name.split()).replace("\0", "\ufffd")
    assert contents[0] == ("h1", shown)
    assert ("table tbody tr td", shown) in contents
    headings = [content for inside, content in contents if inside == "h2"]
    assert headings == ["Quality on the held-out images", "Data", "Training", "What it is not for", "Versions"]
    assert len([inside for inside, _ in contents if inside == "table thead tr th"]) == 2 + 3 + 7 + 4


def test_quality_is_reported_next_to_simpler_baselines(written: str, quality: Quality) -> None:
    # Cells in bold are read as they are.
    assert row(written, "F2 over samples, at the bundle's thresholds")[1] == f"{quality.scores.fbeta_over_samples:.3f}"
    assert row(written, f"F2 over samples, at the best flat threshold ({quality.best_flat_threshold:.2f})")[1]
    assert row(written, "F2 over samples, at a flat 0.5")[1] == f"{quality.fbeta_at_half:.3f}"
    assert (
        row(written, "F2 over samples, predicting the training frequencies")[1] == f"{quality.fbeta_of_frequencies:.3f}"
    )
    assert row(written, "F2 over samples, the frozen head before fine-tuning")[1] == "0.820"
    assert "chosen on these same 20 images, so the figures flatter" in written


def test_a_card_says_first_what_it_cannot_be_relied_on_for(written: str, told: Facts, quality: Quality) -> None:
    start = written.index("**Caution:**")
    assert start < written.index("A multi-label tagger")
    assert "- thresholds and figures rest on only 20 held-out images" in written[start:]
    assert ("ul li p", "1 label without a held-out image, not measured: rare.") in parsed(written)
    sure = dataclasses.replace(quality, cautions=())
    assert "Caution" not in card.write(told, sure, VERSIONS)


def test_labels_are_listed_with_images_threshold_and_measures(told: Facts, quality: Quality, written: str) -> None:
    of_label = quality.scores.labels[0]
    assert row(written, "primary") == [
        "primary",
        str(told.data.train_support[0]),
        str(of_label.support),
        "0.20",
        f"{of_label.precision:.3f}",
        f"{of_label.recall:.3f}",
        f"{of_label.average_precision:.3f}",
    ]


def test_what_is_not_defined_is_a_dash(written: str) -> None:
    assert row(written, "rare") == ["rare", "1", "0", "0.60", "–", "–", "–"]


def test_labels_without_a_curve_are_named(written: str) -> None:
    (told,) = (content for _, content in parsed(written) if content.startswith("Labels without a curve"))
    assert told.endswith("rare.")
    assert "primary" not in told


def test_pictures_are_linked_beside_the_card(written: str) -> None:
    assert re.findall(r"!\[[^]]+\]\(([^)]+)\)", written) == [
        *("reliability.png", "precision_recall.png", "training.png"),
    ]


def test_data_split_and_repairs_are_reported(written: str) -> None:
    assert (
        "40 images to train on and 20 held out (33%), from the folder chips with the label file labels.csv" in written
    )
    assert ("ul li p", "4 images that the labels do not list, skipped: _x, *y, z, ...") in parsed(written)
    assert "`grayscale` on 3, `unmarked_rgba_jpeg` on 57" in written
    assert "secret" not in written


def test_images_without_repairs_are_reported_too(told: Facts, quality: Quality) -> None:
    data = dataclasses.replace(told.data, repairs={}, findings=())
    text = card.write(dataclasses.replace(told, data=data), quality, VERSIONS)
    assert "Repairs made: none, all images were plain RGB." in text
    assert "Problems with" not in text


def test_training_is_described_phase_by_phase(told: Facts, written: str) -> None:
    assert row(written, "head")[:4] == ["head", "1 to 2", "0.003", "2.0"]
    assert row(written, "fine-tuning")[:4] == ["fine-tuning", "3 to 4", "0.0002", "3.0"]
    assert "the weights of epoch 4: the best F2 over samples on the held-out images" in written
    assert "5.0 minutes in total on 2 CPU cores, in float32" in written
    training = dataclasses.replace(told.training, history=model_facts.HISTORY[:1], kept_epoch=1, mixed_precision=True)
    told = dataclasses.replace(told, training=training)
    short = card.write(told, measuring.measure(told), VERSIONS)
    assert row(short, "head")[:4] == ["head", "1", "0.003", "1.0"]
    assert "in mixed precision" in short
    assert "frozen head before" not in short


def test_a_card_says_that_the_network_has_learnt_the_held_out_images_since(
    told: Facts, quality: Quality, written: str
) -> None:
    since = dataclasses.replace(told, training=dataclasses.replace(told.training, final_epochs=5))
    text = card.write(since, quality, VERSIONS)
    for sentence in (
        "before it learnt the held-out images, too (`--final_epochs 5`)",
        "From there, training continued",
    ):
        assert sentence in text
        assert sentence not in written
    assert "--final_epochs 5" in text
    assert summaries.training_summary(since)["final_epochs"] == 5


def test_the_command_gives_every_setting(written: str) -> None:
    assert (
        "scenetags train --images chips --labels labels.csv --output bundle --name 'made up' --image_size 32 "
        "--alpha 0.35 --weights base.h5 --head_epochs 2 --finetune_epochs 2 --final_epochs 0 --batch_size 8 "
        "--validation_fraction 0.25 --seed 7 --quantize none\n"
    ) in written


def test_the_command_says_how_labels_are_written(told: Facts) -> None:
    options = LabelOptions("Photo", ("Seen  here", "More"), "\t")
    source = LabelSource(("/secret/1.csv", "gs://archive/2.csv"), options)
    told = dataclasses.replace(told, data=dataclasses.replace(told.data, label_file=source))
    text = card.write(told, measuring.measure(told), VERSIONS)
    assert (
        "--labels 1.csv --labels 2.csv --image_column Photo --tags_column 'Seen  here' --tags_column More "
        "--separator '\t' "
        "--output bundle"
    ) in text
    assert "with the label file 1.csv, 2.csv." in text


def test_loss_and_beta_are_told_and_in_the_command(told: Facts) -> None:
    training = dataclasses.replace(told.training, loss="weighted", beta=0.5)
    told = dataclasses.replace(told, training=training)
    text = card.write(told, measuring.measure(told), VERSIONS)
    assert "--seed 7 --loss weighted --beta 0.5 --quantize none\n" in text
    assert "Adam on binary cross-entropy, weighted for rare labels." in text
    assert row(text, "F0.5 over samples, at a flat 0.5")
    assert "F2" not in text.replace(told.training.criterion, "")


def test_tags_that_are_never_given_are_listed_with_the_reason(written: str) -> None:
    listed = [content for inside, content in parsed(written) if inside == "ul li p"]
    assert next(line for line in listed if line.startswith("rare, 0.")).endswith(": no image measured.")


def test_how_rasters_were_shown_is_told_and_in_the_command(told: Facts, quality: Quality) -> None:
    rendering = Rendering((3, 2, 1), ((0, 3000), (0, 2500.5), (0, 3000)))
    text = card.write(
        dataclasses.replace(told, network=dataclasses.replace(told.network, rendering=rendering)), quality, VERSIONS
    )

    assert "--quantize none --bands=3,2,1 --stretch=0:3000,0:2500.5,0:3000\n" in text
    assert "Rasters were shown with `--bands=3,2,1 --stretch=0:3000,0:2500.5,0:3000`" in text


def test_the_cost_of_int8_is_reported_next_to_float32(told: Facts, written: str) -> None:
    quantized = quantization.of_quantized(told, np.sqrt(told.probabilities), 200)
    quality = measuring.measure(quantized)
    text = card.write(quantized, quality, VERSIONS)
    every = [content for inside, content in parsed(text) if inside.startswith("table")]
    start = every.index("int8") - 1
    assert every[start : start + 6] == [
        *("measure", "int8", "float32"),
        *(
            "F2 over samples",
            f"{quality.scores.fbeta_over_samples:.3f}",
            row(written, "F2 over samples, at the bundle's thresholds")[1],
        ),
    ]
    assert "started from the weights in base.h5, rounded to int8." in text
    assert "with the ranges of 200 training images" in text
    assert quality.cost_of_int8 is not None
    assert f"by {quality.cost_of_int8.mean_difference:.3f} on average" in text
    assert "--quantize int8\n" in text
    assert "int8" not in written


@pytest.mark.parametrize(
    ("weights", "words"),
    [(None, "trained from scratch"), ("imagenet", "started from the ImageNet weights of Keras")],
)
def test_the_starting_point_of_training_is_named(
    told: Facts, quality: Quality, weights: str | None, words: str
) -> None:
    network = dataclasses.replace(told.network, weights=weights)
    assert words in card.write(dataclasses.replace(told, network=network), quality, VERSIONS)


def test_a_note_is_quoted_line_by_line(told: Facts, quality: Quality) -> None:
    text = card.write(dataclasses.replace(told, note="Drawn by code.\n\n# Loud"), quality, VERSIONS)
    assert "\n> Drawn by code.\n>\n> # Loud\n" in text


def test_every_number_of_the_card_is_in_the_summaries(told: Facts, quality: Quality, written: str) -> None:
    told_in_json = [summaries.training_summary(told), summaries.metrics_summary(told, quality)]
    numbers = {float(text) for text in re.findall(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?", json.dumps(told_in_json))}
    roundings = {f"{number:.{digits}f}" for number in numbers for digits in (0, 2, 3, 4)}
    missing = [cell for cell in cells(written) if re.fullmatch(r"[\d.]+", cell) and cell not in roundings]
    # Of times the summaries have the seconds.
    assert missing == ["2.0", "3.0"]

"""Models that do not fit their bundle, or do not give its golden probabilities, are refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.inference.bundle import LITERT_MODEL, BundleError, load_bundle
from pipelines.inference.engines import open_engine
from tests.pipelines.inference.golden_pairs import (
    ENGINES,
    Change,
    add_a_label,
    assert_is_one_line,
    change_golden,
    crop,
    drop_a_pair,
    empty,
    forget,
    lose_the_pixels,
    seal,
    shift,
    swap_colours,
    take_logits,
)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("change", [shift, swap_colours])
def test_an_engine_that_does_not_reproduce_the_golden_pairs_is_refused(
    bundle_copy: Path, name: str, change: Change
) -> None:
    change_golden(bundle_copy, change)
    with pytest.raises(BundleError, match=f"{name} does not reproduce the golden probabilities") as caught:
        open_engine(seal(bundle_copy), name)
    assert_is_one_line(caught.value)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("change", [add_a_label, drop_a_pair, crop, empty, lose_the_pixels, forget, take_logits])
def test_golden_pairs_that_do_not_fit_the_model_are_refused(bundle_copy: Path, name: str, change: Change) -> None:
    change_golden(bundle_copy, change)
    with pytest.raises(BundleError) as caught:
        open_engine(seal(bundle_copy), name)
    assert_is_one_line(caught.value)
    if change in (forget, take_logits):
        assert ", which are no probabilities; " in str(caught.value)
    assert "gives 3 probabilities" not in str(caught.value) or "has 3 labels" not in str(caught.value), (
        "no reason given"
    )


@pytest.mark.parametrize("name", ENGINES)
def test_an_image_size_that_is_not_the_models_is_refused(bundle_copy: Path, name: str) -> None:
    with pytest.raises(BundleError) as caught:
        open_engine(seal(bundle_copy, image_size=48), name)
    assert_is_one_line(caught.value)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("labels", [("one", "two"), ("one", "two", "three", "four")])
def test_a_model_with_another_number_of_labels_is_refused(
    bundle_copy: Path, name: str, labels: tuple[str, ...]
) -> None:
    def fit_the_labels(golden: dict[str, NDArray[Any]]) -> None:
        golden["probabilities"] = np.resize(golden["probabilities"], (len(golden["pixels"]), len(labels)))

    change_golden(bundle_copy, fit_the_labels)
    with pytest.raises(BundleError, match=f"returns 3 probabilities.* has {len(labels)} labels") as caught:
        open_engine(seal(bundle_copy, labels=labels, thresholds=[0.5] * len(labels)), name)
    assert_is_one_line(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model", bytes(100_000)])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("litert", LITERT_MODEL),
        ("openvino", LITERT_MODEL),
        ("tensorflow", "saved_model/saved_model.pb"),
        ("tensorflow", "saved_model/variables/variables.index"),
    ],
)
def test_a_file_that_is_no_model_is_refused(bundle_copy: Path, name: str, file: str, content: bytes) -> None:
    (bundle_copy / file).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        open_engine(seal(bundle_copy), name)
    assert_is_one_line(caught.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [("litert", LITERT_MODEL), ("openvino", LITERT_MODEL), ("tensorflow", "saved_model/saved_model.pb")],
)
def test_a_model_damaged_after_the_bundle_was_loaded_is_refused(bundle_copy: Path, name: str, file: str) -> None:
    bundle = load_bundle(str(bundle_copy))
    damaged = bytearray((bundle_copy / file).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (bundle_copy / file).write_bytes(damaged)
    with pytest.raises(BundleError, match=f"{file} is damaged") as caught:
        open_engine(bundle, name)
    assert_is_one_line(caught.value)

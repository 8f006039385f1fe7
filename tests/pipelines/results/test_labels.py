"""A label that a model does not have is refused in one way, whichever command names it."""

from __future__ import annotations

import pytest

from pipelines.results.labels import UnknownLabelError, check_label

LABELS = ("bare ground", "Cloudy", "road")
MANY = [f"label {number}" for number in range(1000)]


@pytest.mark.parametrize("name", LABELS)
def test_a_label_of_the_model_is_returned(name: str) -> None:
    assert check_label(name, LABELS, "--tag") == name


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("raod", LABELS, "--tag: raod is not a label of the model; did you mean road?"),
        ("CLOUDS", LABELS, "--tag: CLOUDS is not a label of the model; did you mean Cloudy?"),
        ("road", ["Road", "ROAD"], "did you mean Road?"),
        ("xyz", LABELS, "--tag: xyz is not a label of the model; use one of bare ground, Cloudy, road"),
        ("xyz", MANY, f"use one of {', '.join(MANY[:20])} and 980 more"),
        ("x" * 500, LABELS, f"--tag: {'x' * 100} is not a label"),
    ],
)
def test_another_name_is_refused_with_the_labels_that_may_be_meant(name: str, labels: list[str], said: str) -> None:
    with pytest.raises(UnknownLabelError) as refused:
        check_label(name, labels, "--tag")

    assert said in str(refused.value)

"""Every field of what an isolated decoder answers is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.images import answers

FIELDS = st.sampled_from(("number", "width", "height", "source", "repairs", "error", "message"))
JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | FIELDS


def nested(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=3) | st.dictionaries(FIELDS, values, max_size=6)


@pytest.mark.parametrize(
    "lie",
    [
        *({"width": width} for width in (0, -1, True, 1.0, float("nan"), 10**400, 2**31, "64", None)),
        {"width": 1_001, "height": 1_000},
        *({"source": source} for source in ("", "\ud800", "jpeg\x1b[31m", "JPEG", "j" * 51, 3, None)),
        *({"repairs": repairs} for repairs in (["\ud800"], [["cmyk"]], [1], ["cmyk"] * 21, "cmyk", {"cmyk": 1}, None)),
        *({"error": "DamagedImageError", "message": message} for message in ("\ud800", 3, None)),
        *({"error": error, "message": ""} for error in ("KeyboardInterrupt", "ImageError", "\ud800", 3)),
        {"other": 1},
        *({"number": number} for number in ("", "0" * 16, 0, True, None)),
    ],
    ids=str,
)
def test_no_lie_of_a_decoder_gets_into_a_row(lie: dict[str, Any]) -> None:
    """Check each field of an answer, which the pixels follow; `Resized` is what a row is made of."""
    truth = {"number": "ab", "width": 64, "height": 48, "source": "jpeg 3x8", "repairs": ["cmyk"]}
    assert answers.check_answer(json.dumps(truth).encode(), "ab", 1_000_000) == (64, 48, "jpeg 3x8", ("cmyk",))
    if "error" in lie:
        truth = {"number": "ab"}
    with pytest.raises(answers.BrokenChildError, match="sent an invalid answer"):
        answers.check_answer(json.dumps({**truth, **lie}).encode(), "ab", 1_000_000)


@settings(max_examples=25)
@given(
    st.binary(max_size=200) | st.recursive(JSON, nested, max_leaves=20).map(lambda value: json.dumps(value).encode())
)
def test_whatever_a_decoder_answers_is_an_error_of_its_image(header: bytes) -> None:
    with pytest.raises(answers.BrokenChildError, match="sent an invalid answer"):
        answers.check_answer(header, "ab", 1_000_000)

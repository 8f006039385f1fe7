"""What a share counted in a sample says of all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inference.intervals import wilson_interval


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_an_interval_contains_the_share_and_lies_between_0_and_1(hits: int, misses: int) -> None:
    if not hits + misses:
        with pytest.raises(ValueError, match="not a hit rate: 0 of 0"):
            wilson_interval(hits, hits + misses)
        return
    interval = wilson_interval(hits, hits + misses)

    assert 0 <= interval.low <= hits / (hits + misses) <= interval.high <= 1
    assert (interval.low, interval.high) != (0, 1), "trials say something"


def test_an_interval_is_that_of_the_literature() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for hits, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        interval = wilson_interval(hits, trials)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)

"""When a phase ends."""

from __future__ import annotations

import math

from model.training import phases
from model.training.phases import Phase, has_ended
from tests.model.quality.test_best_epoch import epochs


def test_a_phase_ends_with_its_epochs_or_when_it_gets_no_better() -> None:
    head = Phase("head", 2, 1e-2, "head")
    assert not has_ended(head, epochs("head", 0.5))
    assert has_ended(head, epochs("head", 0.5, 0.6))
    long = Phase("fine-tuning", 100, 1e-3, "everything")
    falling = [0.9, *[0.8] * (phases.PATIENCE - 1)]
    assert not has_ended(long, epochs("fine-tuning", *falling))
    assert has_ended(long, epochs("fine-tuning", *falling, 0.8))
    assert not has_ended(long, epochs("head", *[0.5] * 50)), "each phase has a patience of its own"
    assert has_ended(long, epochs("fine-tuning", 0.9, math.nan)), "nothing comes after NaN"

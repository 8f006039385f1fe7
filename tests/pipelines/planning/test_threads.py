"""A plan is made with the threads that the run will have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import plan
from pipelines.inference.bundle import Bundle
from pipelines.inference.engines import Engine, open_engine
from pipelines.planning import planner
from pipelines.reading import ahead
from tests.pipelines.conftest import WriteChips


def noted(function: Callable[..., Any], into: list[Any]) -> Callable[..., Any]:
    def call(threads: int) -> Any:
        into.append(threads)
        return function(threads)

    return call


def test_a_plan_decodes_and_predicts_with_the_threads_of_the_run(
    chips: WriteChips, bundle_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder: Path = chips([f"{number}.jpg" for number in range(12)])
    decoding: list[int] = []
    predicting: list[int | None] = []

    def opened(bundle: Bundle, engine: str, threads: int | None, embeds: bool, precision: str) -> Engine:
        predicting.append(threads)
        return open_engine(bundle, engine, threads, embeds, precision)

    monkeypatch.setattr(ahead, "_turns_at_processor", noted(ahead._turns_at_processor, decoding))
    monkeypatch.setattr(planner, "open_engine", opened)
    monkeypatch.setattr(planner, "available_cores", lambda: 8)

    assert plan.main(["--input", str(folder), "--model", bundle_path, "--threads", "1", "--json", "-"]) == 0

    assert (decoding, set(predicting)) == ([1], {1})
    made = json.loads(capsys.readouterr().out)
    costs, speed = made["seconds_per_image"], made["here"]["speed"]
    in_a_row = costs["decoding"] + costs["model"]
    assert speed["images_per_second"] == pytest.approx(1 / in_a_row), "one thread does both, whatever the cores"
    assert "--threads 1" in made["command"]

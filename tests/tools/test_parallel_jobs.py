"""The stand-in for a cluster: Beam's runner with several workers, small bundles, and data between steps on disk."""

from __future__ import annotations

from ast import literal_eval
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import uuid4

import apache_beam as beam
import pytest
from apache_beam.pvalue import AsIter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.runners.beam_options import KeptViews
from tools import parallel_jobs
from tools.parallel_jobs import cluster

KEYS, VALUES = 6, 5


class MarkBundle(beam.DoFn):  # type: ignore[misc]
    """Leaves a file per bundle, and passes on what comes in."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def process(self, group: tuple[int, Iterable[bytes]], added: Iterable[int]) -> Iterator[tuple[int, int, int]]:
        key, values = group
        yield key, len(list(values)), sum(added)

    def finish_bundle(self) -> None:
        (self._folder / uuid4().hex).touch()


def test_groups_and_side_inputs_are_whole_over_many_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_jobs, "BUNDLE", 4096)
    found: Counter[tuple[int, int, int]] = Counter()
    written = str(tmp_path / "rows")
    bundles = tmp_path / "bundles"
    bundles.mkdir()

    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    with cluster(2), beam.Pipeline(FnApiRunner(), KeptViews(flags)) as pipeline:
        added = pipeline | "Added" >> beam.Create([1, 2, 3])
        pairs = pipeline | beam.Create([(number % KEYS, bytes(1000)) for number in range(KEYS * VALUES)])
        groups = pairs | beam.Reshuffle() | beam.GroupByKey()
        rows = groups | beam.ParDo(MarkBundle(str(bundles)), AsIter(added))
        _ = rows | beam.Map(str) | beam.io.WriteToText(written)

    for path in tmp_path.glob("rows*"):
        found.update(map(literal_eval, path.read_text().split("\n")[:-1]))
    assert found == {(key, VALUES, 6): 1 for key in range(KEYS)}
    assert len(list(bundles.iterdir())) > 2, "one bundle per worker: not divided"

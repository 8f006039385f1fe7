"""Outputs for reports: rows of real chips, written without a run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines import report as command
from pipelines import storage
from pipelines.output.footers import probability_columns
from pipelines.results.outputs import open_output
from pipelines.results.report.survey import Survey, look_over
from pipelines.results.report.tally import EDGES
from tests import image_files

LABELS = ("clear", "primary", "road", "=water")
THRESHOLDS = (0.5, 0.21, 0.2137, 0.168)
COLUMNS = probability_columns(LABELS)

_PREDICTIONS = pa.schema(
    [
        ("path", pa.string()),
        ("tags", pa.list_(pa.string())),
        *((column, pa.float32()) for column in COLUMNS.values()),
        *(("width", pa.int32()), ("height", pa.int32()), ("source", pa.string())),
        ("repairs", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("fingerprint", "model", "run")),
    ]
)
_NOVELTY = pa.field("novelty", pa.float32())
_FAILURES = pa.schema([(name, pa.string()) for name in ("path", "stage", "error", "message", "fingerprint")])


def ask(query: str) -> list[tuple[Any, ...]]:
    """Return the rows of an SQL query."""
    return list(duckdb.execute(query).fetchall())


def footer(**changed: Any) -> Mapping[str, str]:
    described = {"version": "1", "bundle": "b" * 64, "labels": LABELS, "thresholds": THRESHOLDS, "columns": COLUMNS}
    return {"scenetags": json.dumps(described | changed)}


def draw_probabilities(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Draw float32[N, L], some of them exactly at the edges of bins and next to them."""
    random = np.random.default_rng(seed)
    drawn = (random.random((count, len(LABELS))) ** 3).astype(np.float32)
    edges = random.choice(EDGES, drawn.shape)
    near = np.clip(np.nextafter(edges, random.choice([0, 1], drawn.shape).astype(np.float32)), 0, 1)
    kind = random.integers(0, 6, drawn.shape)
    return np.where(kind == 0, edges, np.where(kind == 1, near, drawn))


def prediction(path: str, probabilities: Sequence[float], **changed: Any) -> dict[str, Any]:
    """Return the row of a chip; tags and fingerprint follow from the others, as a run would write them."""
    reached = np.asarray(probabilities, np.float32) >= np.asarray(THRESHOLDS, np.float32)
    return {
        "path": path,
        "tags": [label for label, has in zip(LABELS, reached, strict=True) if has],
        **dict(zip(COLUMNS.values(), map(float, probabilities), strict=True)),
        "width": 32,
        "height": 32,
        "source": "jpeg 4x8",
        "repairs": ["unmarked_rgba_jpeg"],
        "fingerprint": storage.fingerprint_of(os.stat(path)) if os.path.exists(path) else "1-1",
        "model": "b" * 64,
        "run": "20260101T000000Z-0001",
        **changed,
    }


def failure(path: str, stage: str = "decode", error: str = "DamagedImageError", message: str = "cut") -> dict[str, str]:
    return {"path": path, "stage": stage, "error": error, "message": message, "fingerprint": "1-1"}


def write_output(
    output: Path,
    predictions: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]] = (),
    *,
    metadata: Mapping[str, str] | None = None,
    name: str = "a",
) -> Path:
    """Write a file of each table, and the manifest of the run; rows of predictions may have a novelty."""
    described = metadata or footer()
    columns = _PREDICTIONS.append(_NOVELTY) if any("novelty" in row for row in predictions) else _PREDICTIONS
    for table, rows, schema in (("predictions", predictions, columns), ("failures", failures, _FAILURES)):
        (output / table).mkdir(parents=True, exist_ok=True)
        written = pa.Table.from_pylist(list(rows), schema.with_metadata(described))
        pq.write_table(written, output / table / f"{name}.parquet")
    (output / "runs").mkdir(exist_ok=True)
    accounts = {"inputs": len(predictions) + len(failures), "predictions": len(predictions), "failures": len(failures)}
    counts = {"skipped": 0, "empty": 0, "tags": {}, "repairs": {}, "errors": {}, "passed_over": {}}
    manifest = {"run": f"run-{name}", "status": "done", "seconds": 1.5, "bundle": {"name": "tiny"}}
    (output / "runs" / f"{name}.json").write_text(json.dumps({**manifest, **accounts, **counts}))
    return output


def write_chips(folder: Path, count: int, pictures: int = 12) -> list[str]:
    """Write chips, of which many share a picture, and return their paths."""
    drawn = list(image_files.write_chips(folder / "pictures", [f"{number}.jpg" for number in range(pictures)]))
    paths = [folder / f"chip_{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        os.link(folder / "pictures" / drawn[number % pictures], path)
    return [str(path) for path in paths]


def write_many(folder: Path) -> Path:
    """Write an output of 400 rows in two files, of images that are gone."""
    rows = [prediction(f"/gone/{n}.jpg", p) for n, p in enumerate(draw_probabilities(400))]
    failures = [failure(f"/gone/broken{n}.jpg", message=f"at byte {n}") for n in range(9)]
    write_output(folder, rows[:150], failures, name="a")
    write_output(folder, rows[150:], [failure("/gone/x.jpg", "read", "FileNotFoundError", "gone")], name="b")
    return folder


def look(output: Path, images: int = 0, **options: Any) -> Survey:
    return look_over(open_output(str(output)), options.pop("seed", 0), images, **options)


def make(output: Path | str, page: Path, *flags: str) -> int:
    return command.main([str(output), "--html", str(page), *flags])


def described(page: Path) -> Any:
    [text] = re.findall('<script type="application/json" id="described">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text)

"""The columns of all tables, declared once: schema, rows, encoding, help and documentation derive from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    # `--help` names the columns, and importing Arrow and NumPy would make it slow.

    from pipelines.output.run import Run
    from pipelines.records import Failure, Footprint, ImageRef, KeptColumn, Prediction, Window


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      name: in the file; a `per_label` column has `<label>` in place of the label.
      type: as in the documentation, a key of `_arrow_type`.
      documentation: one line, in Markdown.
      take: returns the value from a row and its run; for a `per_label` column, the values of all labels, in order.
      repeats: whether a file has few distinct values, so that the column is written with a dictionary.
      per_label: whether there is one such column per label.
    """

    name: str
    type: str
    documentation: str
    take: Callable[[Any, Run], Any]
    repeats: bool = False
    per_label: bool = False


class Tagged(NamedTuple):
    """A row of `predictions/`: the model's output for an image, the resulting tags, and how strange the image is."""

    prediction: Prediction
    tags: tuple[str, ...]
    novelty: float | None = None


def _of_prediction(take: Callable[[Prediction], Any]) -> Callable[[Tagged, Run], Any]:
    return lambda row, _: take(row.prediction)


def _of_footprint(take: Callable[[Footprint], Any]) -> Callable[[Tagged, Run], Any]:
    # What is empty is null in a column.
    return lambda row, _: (row.prediction.footprint and take(row.prediction.footprint)) or None


def _of_window(take: Callable[[Window], Any]) -> Callable[[Tagged, Run], Any]:
    return lambda row, _: row.prediction.ref.window and take(row.prediction.ref.window)


def _name_scene(ref: ImageRef, run: Run) -> str | None:
    return (ref.item.id if ref.item else run.known_as(ref.window.scene)) if ref.window else None


def _of_failure(take: Callable[[Failure], Any]) -> Callable[[Failure, Run], Any]:
    return lambda row, _: take(row)


_MODEL = Column("model", "string", "digest of the bundle", lambda _, run: run.bundle.digest, repeats=True)
_RUN = Column("run", "string", "name of the run, begins with its UTC time", lambda _, run: run.name, repeats=True)

PREDICTION_COLUMNS = (
    Column(
        "path",
        "string",
        "absolute path of the image, or its path below `--relative_to`; `ARCHIVE::MEMBER` in an archive",
        lambda row, run: run.known_as(row.prediction.ref.path),
    ),
    Column(
        "tags",
        "list<string>",
        "labels whose probability reaches their threshold, in the order of the model's labels",
        lambda row, _: row.tags,
        repeats=True,
    ),
    Column(
        "p_<label>",
        "float32",
        "probability of each label, 0 to 1, one column per label; characters outside `A-Z a-z 0-9 _` become `_`, and "
        "names that differ only in case get a number",
        _of_prediction(lambda prediction: prediction.probabilities),
        per_label=True,
    ),
    Column(
        "width",
        "int32",
        "width of the upright image, in pixels, before it was resized for the model",
        _of_prediction(lambda prediction: prediction.width),
    ),
    Column(
        "height",
        "int32",
        "height of the upright image, in pixels, before it was resized for the model",
        _of_prediction(lambda prediction: prediction.height),
    ),
    Column(
        "source",
        "string",
        "format, samples per pixel and bits per sample of the file, e.g. `jpeg 4x8`",
        _of_prediction(lambda prediction: prediction.source),
        repeats=True,
    ),
    Column(
        "repairs",
        "list<string>",
        "what was done to get true colours, in the order applied; empty for plain RGB",
        _of_prediction(lambda prediction: prediction.repairs),
        repeats=True,
    ),
    Column(
        "fingerprint",
        "string",
        "identifies the version of the file: size and modification time, or generation or ETag in a bucket; for a "
        "scene of several files, a digest of their fingerprints",
        _of_prediction(lambda prediction: prediction.ref.fingerprint),
    ),
    _MODEL,
    _RUN,
)

SCENE_COLUMNS = (
    Column(
        "scene",
        "string",
        "id of the STAC item that named the scene, else path of the scene",
        lambda row, run: _name_scene(row.prediction.ref, run),
        repeats=True,
    ),
    Column("col_off", "int32", "column of the scene at which the window begins", _of_window(lambda one: one.column)),
    Column("row_off", "int32", "row of the scene at which the window begins", _of_window(lambda one: one.row)),
    Column(
        "datetime",
        "timestamp",
        "when the scene was taken, UTC, from its STAC item, otherwise from the file; null if neither says it",
        _of_footprint(lambda footprint: footprint.taken and datetime.fromisoformat(footprint.taken)),
        repeats=True,
    ),
    Column(
        "geometry",
        "binary",
        "where the window lies: WKB of a polygon in longitudes and latitudes (OGC:CRS84), of two if it crosses the "
        "antimeridian; null if the scene does not say where it lies",
        _of_footprint(lambda footprint: footprint.geometry),
    ),
    Column(
        "bbox",
        "struct<xmin, ymin, xmax, ymax: float64>",
        "the window's west, south, east and north edges, in degrees; -180 to 180 across the antimeridian",
        _of_footprint(
            lambda footprint: (
                footprint.bounds and dict(zip(("xmin", "ymin", "xmax", "ymax"), footprint.bounds, strict=True))
            )
        ),
    ),
)
"""Further columns of predictions where scenes are cut into windows; null for an image that is no window."""

EMPTY_COLUMNS = (
    Column("path", "string", "path of the window", lambda row, run: run.known_as(row.ref.path)),
    Column("fingerprint", "string", "as in `predictions/`", lambda row, _: row.ref.fingerprint),
    _MODEL,
    _RUN,
)

FAILURE_COLUMNS = (
    Column("path", "string", "path of the input, as in `predictions/`", lambda row, run: run.known_as(row.path)),
    Column(
        "stage",
        "string",
        "where it failed: `list`, `read`, `decode` or `predict`",
        _of_failure(lambda failure: failure.stage),
        repeats=True,
    ),
    Column("error", "string", "the kind of error", _of_failure(lambda failure: failure.error), repeats=True),
    Column("message", "string", "the reason", _of_failure(lambda failure: failure.message), repeats=True),
    Column(
        "fingerprint",
        "string",
        "as in `predictions/`; empty where listing failed",
        _of_failure(lambda failure: failure.fingerprint),
    ),
    _MODEL,
    _RUN,
)


KEPT_TYPES: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "int64": int,
    "float64": float,
    "bool": "true".__eq__,
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "local_timestamp": datetime.fromisoformat,
}
"""Types of columns that are kept of a list, and how a value is read from its text."""


EMBEDDING = Column(
    "embedding",
    "fixed_size_list<float16>",
    "the features below the model's head, the same number in every row",
    _of_prediction(lambda prediction: prediction.embedding),
)


NOVELTY = Column(
    "novelty",
    "float32",
    "share of the model's training images that look less strange than this image, 0 to 1: 0.99 is stranger than 99 of "
    "100 of them",
    lambda row, _: row.novelty,
)


def prediction_columns(run: Run) -> Sequence[Column]:
    """Return the columns of the predictions of a run."""
    scenes, embedding = SCENE_COLUMNS if run.grid else (), (EMBEDDING,) if run.embedding_size else ()
    novelty = (NOVELTY,) if run.bundle.reference else ()
    return (*PREDICTION_COLUMNS, *novelty, *embedding, *scenes, *_kept_columns(run, lambda row: row.prediction.ref))


def failure_columns(run: Run) -> Sequence[Column]:
    """Return the columns of the failures of a run."""
    return (*FAILURE_COLUMNS, *_kept_columns(run, lambda row: row))


def _kept_columns(run: Run, listed: Callable[[Any], ImageRef | Failure]) -> Sequence[Column]:
    """Return the columns that are kept of the list; `listed` returns what a row says of its image's place in it."""

    def take(index: int, kept: KeptColumn) -> Callable[[Any, Run], Any]:
        return lambda row, _: next((KEPT_TYPES[kept.type](text) for text in listed(row).kept[index:][:1] if text), None)

    return [
        Column(kept.name, kept.type, f"as in the list: `{kept.name}`", take(index, kept))
        for index, kept in enumerate(run.kept)
    ]


def describe(columns: Sequence[Column]) -> str:
    """List the columns' names in one line, for a help page."""
    return ", ".join(f"{column.name} ..." if column.per_label else column.name for column in columns)


def document(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of a Markdown table of the columns."""
    yield "| column | type | |"
    yield "|---|---|---|"
    for column in columns:
        yield f"| `{column.name}` | `{column.type}` | {column.documentation} |"

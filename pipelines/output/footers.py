"""The footers of the tables' files: what their rows were made with, as JSON under a key of its own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.images.rendering import NO_RENDERING, Rendering, read_rendering
from pipelines.inference.rules import NO_RULES, Rules, read_rules
from pipelines.scenes.grid import NO_GRID, Grid, read_grid
from pipelines.supervision.packages import version

if TYPE_CHECKING:
    # As in `schema`.
    import pyarrow as pa

    from pipelines.output.run import Run
    from pipelines.records import KeptColumn

FOOTER = "scenetags"
"""Key of the metadata in a file's footer."""

CONTENTS = b"scenetags.staged"
"""Key of what a staged file says of its rows; one that was joined to others or rewritten drops it."""


class Footer(NamedTuple):
    """What the rows of a file were made with, as its footer says.

    Attributes:
      bundle: digest of the bundle.
      labels: in the order of the model's outputs.
      thresholds: least probability of a tag, one per label.
      columns: name of each label's probability column.
      version: of scenetags.
      rendering: how rasters became pictures.
      grid: how scenes were cut into windows.
      kept: columns of the list.
      relative: whether paths are relative.
      embedding_size: features of the embeddings; 0 if there are none.
      rules: for tags, beyond the thresholds.
      retagged: whether thresholds and rules are those that `scenetags retag` chose for the whole output.
      engine: that computed the probabilities; empty if it is not known.
      precision: in which it did.
    """

    bundle: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    columns: Mapping[str, str]
    version: str = ""
    rendering: Rendering = NO_RENDERING
    grid: Grid = NO_GRID
    kept: tuple[KeptColumn, ...] = ()
    relative: bool = False
    embedding_size: int = 0
    rules: Rules = NO_RULES
    retagged: bool = False
    engine: str = ""
    precision: str = "float32"


def make_footer(run: Run) -> Mapping[str, Any]:
    """Describe what a file's rows were made with."""
    return {
        "version": version("scenetags"),
        "bundle": run.bundle.digest,
        "labels": list(run.bundle.labels),
        "thresholds": list(run.thresholds),
        "columns": probability_columns(run.bundle.labels),
        **({"rendering": run.rendering.described()} if run.rendering else {}),
        **({"grid": run.grid.described()} if run.grid else {}),
        **({"kept": run.kept} if run.kept else {}),
        **({"relative": True} if run.relative_to else {}),
        **({"embedding_size": run.embedding_size} if run.embedding_size else {}),
        **({"engine": run.engine} if run.engine else {}),
        **({"precision": run.precision} if run.precision != "float32" else {}),
        **described_choice(run.rules, run.retagged),
    }


def described_choice(rules: Rules, retagged: bool) -> dict[str, Any]:
    """Return what a footer says of the choice of tags besides thresholds, as JSON."""
    return {**({"rules": rules.described()} if rules else {}), **({"retagged": True} if retagged else {})}


def read_footer(schema: pa.Schema) -> Footer | None:
    """Read what the rows of a file were made with; None if scenetags did not write it."""
    # Imported here: it needs NumPy, and `--help` names the columns.
    from pipelines.records import KeptColumn

    try:
        described = json.loads((schema.metadata or {})[FOOTER.encode()])
        labels = tuple(described["labels"])
        # Older files do not name their columns, which are the unchanged labels.
        columns = described.get("columns") or {label: f"p_{label}" for label in labels}
        columns = {label: columns[label] for label in labels}
        made_by = described.get("version", "")
        rendering = read_rendering(described["rendering"]) if "rendering" in described else NO_RENDERING
        grid = read_grid(described["grid"]) if "grid" in described else NO_GRID
        thresholds = tuple(described["thresholds"])
        kept = tuple(KeptColumn(name, kind) for name, kind in described.get("kept", ()))
        rules = read_rules(described["rules"], labels) if "rules" in described else NO_RULES
        retagged = described.get("retagged", False) is True
        relative = described.get("relative", False) is True
        embedding_size = int(described.get("embedding_size", 0))
        engine, precision = described.get("engine", ""), described.get("precision", "float32")
        made_with = rendering, grid, kept, relative, embedding_size, rules, retagged, engine, precision
        footer = Footer(described["bundle"], labels, thresholds, columns, made_by, *made_with)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    texts = (footer.bundle, footer.version, footer.engine, footer.precision, *labels, *columns.values(), *chain(*kept))
    sound = all(isinstance(text, str) for text in texts) and all(map(_is_number, footer.thresholds))
    sound = sound and len(footer.thresholds) == len(labels)
    return footer if sound else None


def name_difference(one: Footer, other: Footer) -> str:
    """Name the setting that two files differ in, although files of one output must share it; empty if there is none."""
    parts = (
        ("models", one.bundle, other.bundle),
        ("precisions", one.precision, other.precision),
        ("thresholds", one.thresholds, other.thresholds),
        ("rules", one.rules, other.rules),
        ("raster flags", one.rendering, other.rendering),
    )
    return next((what for what, mine, theirs in parts if mine != theirs), "")


def probability_columns(labels: Sequence[str]) -> dict[str, str]:
    """Name the column of each label's probability.

    BigQuery, Athena and Spark refuse or confuse names with other characters, and names that differ in case alone.

    Returns:
      Column names by label, in the order of the labels.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        plain = name = "p_" + re.sub(r"[^A-Za-z0-9_]", "_", label)
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.lower())
        names[label] = name
    return names


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

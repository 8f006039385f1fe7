"""Say why an output has no windows of scenes to be shown."""

from __future__ import annotations

from pipelines.errors import quantity
from pipelines.output.run import EMPTY
from pipelines.results.files import NoOutputError
from pipelines.results.outputs import Output

_CUT = "run `scenetags predict` on scenes, with --tile"


def lacks_windows(output: Output, *, unplaced: bool = False) -> NoOutputError:
    """Describe an output none of whose rows is a window that says where it lies.

    Args:
      output: the output.
      unplaced: whether it has windows that do not say it.

    Raises:
      NoOutputError: a file cannot be read.
      OutputError: a file is damaged.
    """
    if unplaced:
        return NoOutputError(
            f"{output.path}: none of its windows says where it lies",
            "tag scenes that have a coordinate reference system",
        )
    if output.count_rows():
        return NoOutputError(f"{output.path}: its predictions are of images, not of windows of scenes", _CUT)
    empty, failures = output.count_rows(EMPTY), output.count_failures()
    reasons, remedy = [], _CUT
    if failures:
        reasons.append(f"{quantity(failures, 'input')} failed")
        remedy = f"run `scenetags report {output.path}` to see why"
    if empty:
        reasons.append(f"{quantity(empty, 'window has', 'windows have')} too little data")
        remedy = "if they should be tagged, run `scenetags predict` with a lower --min_valid, into another --output"
    why = f": {' and '.join(reasons)}" if reasons else ""
    return NoOutputError(f"{output.path} has no predictions{why}", remedy)

"""Configure a run: by its options and its bundle, and by the rows that the output already holds."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from pipelines.commandline.options import PredictOptions
from pipelines.commandline.printing import log
from pipelines.inference.bundle import LITERT_MODEL, Bundle
from pipelines.inference.embeddings import embedding_size
from pipelines.inference.engines import INSTALL_OPENVINO, choose_precision, lacks_openvino
from pipelines.inference.processor import bfloat16_units, describe_without_units
from pipelines.listing import find_kept
from pipelines.output.compatible import as_retagged, check_output, first_footer
from pipelines.output.run import Run
from pipelines.output.tables import OutputError
from pipelines.records import KeptColumn
from pipelines.storage import Access


class Joining(NamedTuple):
    """A run that may add to its output.

    Attributes:
      run: as it has to be for that.
      held: precision of the rows that it joins; empty if there are none.
    """

    run: Run
    held: str


def configure_run(
    name: str, options: PredictOptions, bundle: Bundle, access: Access | None = None, detached: bool = False
) -> Run:
    """Configure a run by its options and its bundle.

    Args:
      name: of the run.
      options: what the user asked for.
      bundle: the model.
      access: how buckets are reached.
      detached: whether this process ends before the run does.

    Raises:
      ScenetagsError: the options do not fit the bundle or the list.
    """
    precision = choose_precision(options.precision, options.engine, bundle)
    kept: tuple[KeptColumn, ...] = ()
    if options.input_list and options.keep_columns:
        kept = find_kept(options.input_list, options.path_column, options.keep_columns)
    return Run(
        name,
        options.output,
        bundle,
        bundle.thresholds_at(options.threshold),
        options.overwrite,
        options.max_failure_rate,
        fail_on_shift=options.fail_on_shift,
        detached=detached,
        options=options.described(),
        access=access or Access(),
        rendering=options.rendering.over(bundle.rendering),
        grid=options.grid,
        kept=kept,
        embedding_size=embedding_size(bundle.read(LITERT_MODEL)) if options.embeddings else 0,
        relative_to=options.relative_to or "",
        settings=(options.engine, options.limits.max_bytes, options.limits.max_pixels),
        engine="openvino" if precision == "bfloat16" else options.engine.removesuffix("auto"),
        precision=precision,
    )


def join_output(run: Run, options: PredictOptions, local: bool, command: str = "scenetags predict") -> Joining:
    """Return a run as it may add to its output.

    It tags as the rows there, if those were retagged, and computes in their precision, if that was left open.

    Args:
      run: about to begin.
      options: what the user asked for.
      local: whether it computes on this machine.
      command: that reports what the run takes over.

    Raises:
      OutputError: it may not, or this machine cannot.
    """
    footer = first_footer(run)
    joining = as_retagged(run, footer, explicit=options.threshold is not None)
    held = footer.precision if footer else ""
    if options.precision == "auto":
        joining = replace(joining, precision=held or run.precision)
    check_output(joining)
    if local and held == "bfloat16" and not bfloat16_units():
        raise OutputError(
            f"output {run.output} holds rows computed in bfloat16, for which this processor has no units "
            f"({describe_without_units()})",
            "resume on a machine that has them, choose another --output, or replace the rows with --overwrite "
            "--precision float32",
        )
    if options.precision == "auto":
        _report_precision(joining, run.precision, options, command)
    if (joining.thresholds, joining.rules) != (run.thresholds, run.rules):
        log(
            f"{command}: {run.output} was retagged, so new images are tagged with its thresholds"
            f"{f' and {joining.rules}' if joining.rules else ''}, not with those of {run.bundle.path}",
            severity="INFO",
        )
    return Joining(joining, held)


def _report_precision(run: Run, chosen: str, options: PredictOptions, command: str) -> None:
    """Report the precision of a run that left it open, unless it is the best one of this machine."""
    reason = ""
    if run.precision != chosen:
        reason = f", like the rows in {run.output}"
    elif run.precision == "float32" and lacks_openvino(options.engine, run.bundle):
        reason = f"; bfloat16 needs OpenVINO: {INSTALL_OPENVINO}"
    if reason:
        log(f"{command}: --precision auto computes in {run.precision}{reason}", severity="INFO")

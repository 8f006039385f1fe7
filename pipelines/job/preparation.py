"""Configure a run: by its options and its bundle, and by the rows that the output already holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from pipelines.commandline.options import PredictOptions
from pipelines.commandline.printing import log
from pipelines.inference.ahead import Model
from pipelines.inference.bundle import LITERT_MODEL, Bundle, BundleError
from pipelines.inference.embeddings import embedding_size
from pipelines.inference.engines import check_engine
from pipelines.inference.openvino_runtime import is_loadable
from pipelines.inference.precision import Choice, can_bfloat16, choose_precision
from pipelines.inference.processor import bfloat16_units, describe_without_units
from pipelines.listing import find_kept
from pipelines.listing.inputs import Inputs
from pipelines.output.compatible import as_retagged, check_output, first_footer
from pipelines.output.run import Run
from pipelines.output.tables import OutputError
from pipelines.records import KeptColumn
from pipelines.storage import Access

Attempt = Callable[[str], object]
"""Opens a bundle's model on this machine in a precision, or raises `BundleError`."""


class Joining(NamedTuple):
    """A run that may add to its output.

    Attributes:
      run: as it has to be for that.
      held: precision of the rows that it joins; empty if there are none.
      choice: of its precision, if it was left open and there are none.
    """

    run: Run
    held: str
    choice: Choice | None = None


def model_of(bundle: Bundle, options: PredictOptions, precision: str) -> Model:
    """Return the model of a local run."""
    return Model(
        bundle.path,
        bundle.digest,
        options.engine,
        options.batch_size,
        options.threads,
        options.embeddings,
        precision,
    )


def configure_run(
    name: str,
    options: PredictOptions,
    bundle: Bundle,
    attempt: Attempt,
    access: Access | None = None,
    detached: bool = False,
) -> Run:
    """Configure a run by its options and its bundle.

    Args:
      name: of the run.
      options: what the user asked for.
      bundle: the model.
      attempt: called only if the precision was left open.
      access: how buckets are reached.
      detached: whether this process ends before the run does.

    Raises:
      BundleError: the precision was left open, and the engine refuses the bundle in each.
      ScenetagsError: the options do not fit the bundle or the list.
    """
    precision = options.precision
    if precision == "auto":
        # The folder in which an overwrite gathers its rows is named after it. Other runs first look at the output.
        precision = choose_precision(options.engine, bundle, attempt).precision if options.overwrite else "float32"
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
        engine=_engine(options, precision),
        precision=precision,
    )


def inputs_of(run: Run, options: PredictOptions) -> Inputs:
    """Return what a run lists."""
    paths = options.input, options.input_list
    return Inputs(*paths, options.path_column, run.kept, options.allow_empty, options.documents)


def join_output(
    run: Run, options: PredictOptions, attempt: Attempt | None, command: str = "scenetags predict"
) -> Joining:
    """Adapt a run to the rows that its output holds already.

    It tags as the rows there, if those were retagged, and computes in their precision, if that was left open.

    Args:
      run: about to begin.
      options: what the user asked for.
      attempt: None if the run does not compute on this machine.
      command: that reports what the run takes over.

    Raises:
      BundleError: the precision was left open, and the engine refuses the bundle in each.
      OutputError: it may not, or this machine cannot.
    """
    footer = first_footer(run)
    held = footer.precision if footer else ""
    retagged = as_retagged(run, footer, explicit=options.threshold is not None)
    joining = settle_precision(retagged, options, attempt, held)
    check_output(joining.run)
    if attempt and held == "bfloat16":
        _check_bfloat16(run, options, attempt)
    if joining.choice:
        report_choice(joining.choice, command)
    elif options.precision == "auto" and held not in ("", _best(options, run.bundle)):
        log(f"{command}: --precision auto computes in {held}, like the rows in {run.output}", severity="INFO")
    if (retagged.thresholds, retagged.rules) != (run.thresholds, run.rules):
        log(
            f"{command}: {run.output} was retagged, so new images are tagged with its thresholds"
            f"{f' and {retagged.rules}' if retagged.rules else ''}, not with those of {run.bundle.path}",
            severity="INFO",
        )
    return joining


def settle_precision(run: Run, options: PredictOptions, attempt: Attempt | None, held: str = "") -> Joining:
    """Give a run whose precision was left open that of the rows that it joins, or else the best of this machine.

    Args:
      run: about to begin.
      options: what the user asked for.
      attempt: None if the run does not compute on this machine.
      held: precision of these rows; empty if there are none.

    Raises:
      BundleError: the engine refuses the bundle in each precision.
    """
    if options.precision != "auto" or attempt is None:
        return Joining(run, held)
    choice = None if held else choose_precision(options.engine, run.bundle, attempt)
    precision = choice.precision if choice else held
    return Joining(replace(run, precision=precision, engine=_engine(options, precision)), held, choice)


def report_choice(choice: Choice, command: str) -> None:
    """Say why a precision was chosen that is not the fastest one; nothing if it is."""
    if choice.reason:
        log(f"{command}: {choice}", severity=choice.severity)


def _check_bfloat16(run: Run, options: PredictOptions, attempt: Attempt) -> None:
    """Verify that this machine can add to rows in bfloat16.

    Raises:
      BundleError: OpenVINO is missing or broken, or another engine was asked for.
      OutputError: it cannot for another reason.
    """
    holds = f"output {run.output} holds rows computed in bfloat16"
    litert = " --engine litert" * (options.engine == "openvino")
    remedy = f"choose another --output, or replace the rows with --overwrite --precision float32{litert}"
    if not bfloat16_units():
        raise OutputError(
            f"{holds}, for which this processor has no units ({describe_without_units()})",
            f"resume on a machine that has them, {remedy}",
        )
    check_engine(run.bundle, options.engine, options.embeddings, "bfloat16")
    try:
        attempt("bfloat16")
    except BundleError as error:
        if not is_loadable():
            raise
        # Its remedy would be another precision, which the output refuses.
        raise OutputError(f"{holds}, but {error.message}", remedy) from None


def _best(options: PredictOptions, bundle: Bundle) -> str:
    return "bfloat16" if can_bfloat16(options.engine, bundle) else "float32"


def _engine(options: PredictOptions, precision: str) -> str:
    return "openvino" if precision == "bfloat16" else options.engine.removesuffix("auto")

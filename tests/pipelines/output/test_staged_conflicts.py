"""What a dead run has staged is not lost to a run whose rows would differ from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.images.rendering import Rendering
from pipelines.output.compatible import check_output, first_footer
from pipelines.output.lock import hold_output
from pipelines.output.recovery import recover_rows
from pipelines.output.run import FAILURES, Run
from pipelines.output.tables import OutputError
from pipelines.scenes.grid import Grid
from tests.pipelines.output.dead_runs import die, predicted, recovered
from tests.pipelines.output.rows import FIRST, SECOND, commit_rows, once, seen


def test_a_run_whose_rows_would_differ_from_staged_ones_is_refused_and_loses_none(first: Run, second: Run) -> None:
    others = {
        "rows tagged with different thresholds": replace(second, thresholds=(0.1, 0.2, 0.3)),
        "rows computed in float32, and those of this run are in bfloat16": replace(second, precision="bfloat16"),
        "rows with absolute paths, and those of this run are relative": replace(second, relative_to="/data"),
        "rows made without --tile, not with --tile=256": replace(second, grid=Grid(256, 256)),
        "rows of a different bundle": replace(second, bundle=replace(second.bundle, digest="another")),
    }
    cut_off, *_ = die(first, predicted("cut off"), FIRST)
    Path(cut_off.staged).write_bytes(b"cut off")
    for difference, other in others.items():
        with pytest.raises(OutputError) as refused, hold_output(other):
            check_output(other)
        assert refused.value.message.startswith(
            f"run {first.name} staged rows and ended before it committed them: output {first.output} holds {difference}"
        )
        assert refused.value.remedy == (
            f"repeat its command to resume it, commit them with `scenetags recover {first.output}`, choose another "
            f"--output, or replace them with --overwrite"
        )
    check_output(second)
    recovered(second)
    assert seen(first.output) == once(FIRST)


def test_a_remedy_works_where_neither_run_of_two_takes_the_rows_of_the_other(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    die(replace(second, thresholds=(0.1, 0.2, 0.3)), SECOND)
    again = replace(first, name="20260101T000000Z-0003")
    with pytest.raises(OutputError) as refused:
        check_output(again)
    assert refused.value.remedy == (
        f"delete {second.staging} to have its images tagged again, choose another --output, or replace them with "
        "--overwrite"
    )


def test_failures_that_other_flags_may_mend_are_recovered(first: Run, second: Run) -> None:
    """What a failure asks for may be another rendering."""
    failures = {"16 bits.tif": (FAILURES, "1")}
    die(first, failures)
    mended = replace(second, rendering=Rendering(bands=(3, 2, 1)), thresholds=(0.1, 0.2, 0.3))
    check_output(mended)
    recovered(mended)
    assert seen(first.output) == once(failures)


def test_failures_in_place_do_not_say_how_other_rows_are_made(first: Run, second: Run) -> None:
    """A run with other flags may join them, so what it has staged fits them."""
    commit_rows(replace(first, rendering=Rendering(bands=(3, 2, 1))), {"16 bits.tif": (FAILURES, "1")})
    mended = replace(second, thresholds=(0.1, 0.2, 0.3))
    check_output(mended)
    die(mended, FIRST)
    die(replace(first, name="20260101T000000Z-0003"), SECOND)
    command = replace(first, name="20260101T000000Z-0004")
    with hold_output(command):
        found, unfit = recover_rows(command)
    assert (found.accounts.inputs, found.unfit) == (len(FIRST), 0)
    assert (unfit.accounts.inputs, unfit.unfit) == (0, len(SECOND))
    assert unfit.difference == "with different thresholds"
    assert seen(first.output) == once({**FIRST, "16 bits.tif": (FAILURES, "1")})


def test_a_precision_that_is_left_open_is_that_of_staged_rows(first: Run, second: Run) -> None:
    die(replace(first, precision="bfloat16"), FIRST)
    footer = first_footer(second)
    assert footer
    assert footer.precision == "bfloat16"
    assert first_footer(replace(second, overwrite=True)) is None


def test_an_overwrite_recovers_the_rows_that_it_will_replace(first: Run, second: Run) -> None:
    """They stay if it keeps the old rows."""
    overwrite = replace(second, name="20260101T000000Z-0003", overwrite=True, thresholds=(0.1, 0.2, 0.3))
    check_output(overwrite)
    die(first, FIRST)
    [found] = recovered(overwrite)
    assert (found.accounts.inputs, found.unfit) == (len(FIRST), 0)
    assert seen(first.output) == once(FIRST)

    die(replace(second, precision="bfloat16"), SECOND)
    [found] = recovered(overwrite)
    different = f"deleted 6 rows that run {second.name} had staged: they were made with different precisions"
    assert found.lines() == [different]
    assert seen(first.output) == once(FIRST)


def test_rows_of_an_overwrite_that_is_not_resumed_are_deleted_with_a_line(first: Run, second: Run) -> None:
    die(replace(first, overwrite=True), FIRST)
    [found] = recovered(second)
    kind = "for an overwrite that this run does not resume"
    assert found.lines() == [f"deleted 6 rows that run {first.name} had staged: they were made {kind}"]
    assert seen(first.output) == {}

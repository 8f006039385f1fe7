"""Options become the command that they are those of."""

from __future__ import annotations

import shlex
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipelines.commandline.flags import parse_predict
from pipelines.planning import shell

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1)


@given(st.lists(TEXTS, min_size=1), TEXTS, st.booleans(), st.none() | st.floats(0, 1), st.integers(1, 1024))
def test_a_command_means_the_options_that_it_was_made_of(
    inputs: list[str], name: str, overwrite: bool, threshold: float | None, count: int
) -> None:
    options = replace(
        parse_predict(["--input=x", "--model=/bundle", "--output=/out"]),
        input=tuple(inputs),
        input_list=name,
        output=f"/{name.replace('/', '')}x",
        overwrite=overwrite,
        threshold=threshold,
        batch_size=count,
        max_pixels=count,
        beam_flags=("--s3_verify", "false"),
    )

    command = shlex.split(shell.shell_command(options))

    assert command[:2] == ["scenetags", "predict"]
    assert parse_predict(command[2:]) == options

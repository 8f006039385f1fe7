"""A command that is stopped says by what, and what to do then, in one line."""

from __future__ import annotations

import errno

import pytest

from pipelines.commandline.parser import print_stopped

FULL = (errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "remedy", "said"),
    [
        (OSError(*FULL), "", "scenetags retag: stopped: No space left on device"),
        (OSError(*FULL, "/out"), "try again", "scenetags retag: stopped: /out: No space left on device; try again"),
        # A file without a name, such as a pipe.
        (OSError(*FULL, 3), "", "scenetags retag: stopped: No space left on device"),
        (OSError("gone"), "", "scenetags retag: stopped: gone"),
    ],
)
def test_what_has_stopped_a_command_is_one_line(
    error: OSError, remedy: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_stopped("scenetags retag", error, remedy) == 1
    assert capsys.readouterr().err == f"{said}\n"

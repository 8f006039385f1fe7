"""What the flags of `scenetags predict` mean, read from a command line alone."""

from __future__ import annotations

import pytest

from pipelines.commandline.flags import parse_predict
from pipelines.commandline.parser import UsageError

LEAST = ["--input=chips", "--model=bundle", "--output=tagged"]


@pytest.mark.parametrize("flag", ["overwrite", "requester_pays", "isolate_decoding", "fail_fast", "dry_run"])
def test_a_switch_is_on_where_it_stands_and_takes_true_and_false_as_templates_give_them(flag: str) -> None:
    spellings = {
        None: False,
        f"--{flag}": True,
        f"--{flag}=true": True,
        f"--{flag}=True": True,
        f"--{flag}=false": False,
    }
    for spelling, value in spellings.items():
        options = parse_predict([*([spelling] if spelling else []), *LEAST])
        assert getattr(options, flag) is value, spelling
        assert options.beam_flags == (), spelling


@pytest.mark.parametrize("value", ["yes", "0", ""])
def test_a_switch_takes_nothing_else(value: str) -> None:
    with pytest.raises(UsageError, match=f"argument --overwrite: {value} is neither true nor false"):
        parse_predict([*LEAST, f"--overwrite={value}"])

"""What the flags of `scenetags predict` mean, read from a command line alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from pipelines.commandline.flags import parse_predict
from pipelines.commandline.parser import UsageError
from pipelines.images.rendering import NO_RENDERING, Rendering

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


THREE = ((0.0, 3000.0),) * 3
LANDSAT = Rendering((), (), "landsat-8-l2", ((2, 98),) * 3)


@pytest.mark.parametrize(
    ("flags", "rendering"),
    [
        ([], NO_RENDERING),
        (["--bands=3,2,1", "--stretch=0:3000"], Rendering((3, 2, 1), THREE)),
        (["--stretch", "-2:2.5"], Rendering((), ((-2, 2.5),) * 3)),
        (["--stretch=0:1,-2:2.5,0:3e3"], Rendering((), ((0, 1), (-2, 2.5), (0, 3000)))),
        (["--stretch=p2:p99.5", "--tile=64"], Rendering(percentiles=((2, 99.5),) * 3)),
        (["--stretch=p0:p100,p1:p2,p5:p6", "--tile=64"], Rendering(percentiles=((0, 100), (1, 2), (5, 6)))),
        (["--product=sentinel-2-l2a"], Rendering(product="sentinel-2-l2a")),
        (["--product=sentinel-2-l1c", "--bands=3,2,1"], Rendering((3, 2, 1), product="sentinel-2-l1c")),
        (
            ["--product=landsat-8-l2", "--stretch=p2:p98", "--tile=64"],
            Rendering((), (), "landsat-8-l2", ((2, 98),) * 3),
        ),
        (["--product=planet-analytic-sr"], Rendering((3, 2, 1), THREE, "planet-analytic-sr")),
        (["--product=planet-analytic", "--stretch=0:3000"], Rendering((3, 2, 1), THREE, "planet-analytic")),
    ],
)
def test_what_is_said_of_rasters(flags: Sequence[str], rendering: Rendering) -> None:
    assert parse_predict([*LEAST, *flags]).rendering == rendering


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        *((["--bands=3,2"], "--bands 3,2: not three"), (["--bands=0,1,2"], "not three band numbers, counted from 1")),
        *((["--bands=a,b,c"], "write e.g. --bands 3,2,1"), (["--bands= "], "--bands  : not three")),
        *(
            (["--stretch=3000:0"], "--stretch 3000:0: neither one range LOW:HIGH"),
            (["--stretch=0:1,0:1"], "nor three, with LOW below HIGH"),
        ),
        *(
            (["--stretch=0:inf"], "neither one range"),
            (["--stretch=nan:1"], "neither one range"),
            (["--stretch=p2:98"], "neither one range of percentiles nor three, from p0 to p100"),
        ),
        (["--stretch=p2:p101"], "write e.g. --stretch p2:p98"),
        (["--stretch=p2:p98,p1:p99"], "neither one range of percentiles nor three"),
        (["--stretch=p2:p98"], "--stretch of percentiles is for scenes that --tile cuts: a chip's own"),
        (["--stretch=p2:p98"], "give values, e.g. --stretch 0:3000, and --bands, unless the files name them"),
        (["--product=naip", "--bands=1,2,3"], "--product says which bands are red, green and blue; omit"),
        (["--product=planet-analytic", "--bands=1,2,3"], "--product says which bands are red, green and blue; omit"),
        (["--product=landsat"], "invalid choice: 'landsat'"),
        (["--stretch=0:1e300"], "with LOW below HIGH, and none beyond 1e30"),
    ],
)
def test_what_says_nothing_of_rasters_is_refused(flags: Sequence[str], reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse_predict([*LEAST, *flags])


@pytest.mark.parametrize("value", ["yes", "0"])
def test_a_switch_takes_nothing_else(value: str) -> None:
    with pytest.raises(UsageError, match=f"--overwrite: {value} is neither true nor false"):
        parse_predict([*LEAST, f"--overwrite={value}"])

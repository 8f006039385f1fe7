"""Which documents may name files, as the flags say it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.commandline.flags import parse_predict
from pipelines.commandline.parser import UsageError
from pipelines.scenes.documents import NO_DOCUMENTS, Documents

LEAST = ["--input=scenes", "--model=bundle", "--output=tagged"]
TILED = [*LEAST, "--tile=256"]


@pytest.mark.parametrize(
    ("flags", "documents"),
    [
        (LEAST, NO_DOCUMENTS),
        ([*LEAST, "--asset=true colour"], Documents(("true colour",))),
        ([*TILED, "--asset=red, green,blue"], Documents(("red", "green", "blue"))),
        ([*TILED, "--asset=nir,red,green"], Documents(("nir", "red", "green"))),
        ([*TILED, "--allow_vrt"], Documents((), ())),
        ([*TILED, "--allow_vrt=TRUE"], Documents((), ())),
        ([*LEAST, "--allow_vrt=false"], NO_DOCUMENTS),
        ([*TILED, "--allow_vrt=s3://bands/,gs://b/c"], Documents((), ("s3://bands", "gs://b/c"))),
    ],
)
def test_documents_may_name_files_only_where_it_is_said(flags: Sequence[str], documents: Documents) -> None:
    assert parse_predict(flags).documents == documents


def test_a_folder_is_trusted_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bands").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_predict([*TILED, "--allow_vrt=bands/../bands/"]).documents.trusted == (f"{tmp_path}/bands",)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([*TILED, "--asset= "], "--asset  : neither one key nor three; write e.g. --asset red,green,blue"),
        ([*TILED, "--asset=red,green"], "neither one key nor three"),
        ([*TILED, "--asset=red,,blue"], "neither one key nor three"),
        ([*TILED, "--asset=blue,green,red"], "would swap colours; write --asset red,green,blue, in this order"),
        ([*TILED, "--asset=red,green,blue", "--bands=1,2,3"], "omit --bands"),
        ([*LEAST, "--asset=red,green,blue"], "are read in windows; add --tile"),
        ([*LEAST, "--allow_vrt"], "--allow_vrt needs --tile"),
        ([*TILED, "--allow_vrt=nowhere"], "nowhere is not a folder; name a folder or a bucket"),
        ([*TILED, "--allow_vrt=/a,"], "a folder without a name"),
        ([*TILED, "--allow_vrt=s3://"], "names no bucket"),
    ],
)
def test_what_makes_no_sense_of_documents_is_refused(flags: Sequence[str], reason: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_predict(flags)
    assert reason in str(error.value)

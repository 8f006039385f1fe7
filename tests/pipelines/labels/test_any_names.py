"""Any names of labels and images survive being written, read and matched."""

from __future__ import annotations

import csv
import os
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipelines import labels
from pipelines.labels import Row, columns, spelling
from pipelines.labels.missing import is_missing

NAMES = st.text(
    st.one_of(st.sampled_from(" ,;|\"'#%[]é\u0301ß"), st.characters(exclude_categories=("C", "Z"))), min_size=1
).map(lambda name: " ".join(name.split()))
RESERVED = ("image", "tags", "labels", "unnamed", "'", "['", '["')
# Columns of these names hold something else.
USUAL = {*columns.IMAGE_COLUMNS, *columns.TAGS_COLUMNS, *columns._NO_LABELS}
LABELS = NAMES.filter(
    lambda name: name and not spelling.key(name).startswith(RESERVED) and columns.kind_of(name) not in USUAL
)
IMAGES = NAMES.filter(lambda name: name.strip("./\\ ")).map(lambda name: name.replace("/", "-").replace("\\", "-"))


def image_key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", os.path.splitext(name)[0]).casefold())


def write_read_and_match(
    header: Sequence[str], rows: Sequence[Sequence[str]], names: Sequence[str]
) -> tuple[labels.LabelFile, labels.LabelledImages]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "labels.csv")
        with file.open("w", newline="", encoding="utf-8") as lines:
            csv.writer(lines).writerows([header, *rows])
        read = labels.read_labels(file)
    return read, labels.match(read.rows, [f"/chips/{name}.jpg" for name in names], "chips")


@given(st.data())
def test_any_names_survive_one_column_a_label(data: st.DataObject) -> None:
    known = data.draw(st.lists(LABELS, min_size=1, max_size=5, unique_by=spelling.key))
    names = data.draw(st.lists(IMAGES, min_size=1, max_size=5, unique_by=image_key))
    given_tags = [data.draw(st.frozensets(st.sampled_from(known))) for _ in names]
    rows = [
        [name, *("1" if label in of_image else "0" for label in known)]
        for name, of_image in zip(names, given_tags, strict=True)
    ]
    read, found = write_read_and_match(["image_name", *known], rows, names)
    assert read == labels.LabelFile(
        tuple(Row(*row, exhaustive=True) for row in zip(names, given_tags, strict=True)),
        tuple(sorted(known)),
        (),
        is_closed=True,
    )
    assert found[:3] == (tuple(f"/chips/{name}.jpg" for name in names), tuple(given_tags), ())


@given(st.data())
def test_any_names_survive_one_column_of_tags(data: st.DataObject) -> None:
    # Brackets make a list, and some words stand for no value.
    unmarked = LABELS.map(lambda label: label.translate(dict.fromkeys(map(ord, " ,;|([{"), "_"))).filter(
        lambda label: not is_missing(label)
    )
    known = data.draw(st.lists(unmarked, min_size=1, max_size=5, unique_by=spelling.key))
    names = data.draw(st.lists(IMAGES, min_size=1, max_size=5, unique_by=image_key))
    given_tags = [data.draw(st.frozensets(st.sampled_from(known), min_size=1)) for _ in names]
    rows = [[name, " ".join(of_image)] for name, of_image in zip(names, given_tags, strict=True)]
    read, found = write_read_and_match(["image_name", "tags"], rows, names)
    assert read[:2] == (tuple(map(Row, names, given_tags)), labels.vocabulary(given_tags))
    assert all(finding.what.startswith("labels made up of others, not split") for finding in read.findings)
    assert found[:3] == (tuple(f"/chips/{name}.jpg" for name in names), tuple(given_tags), ())

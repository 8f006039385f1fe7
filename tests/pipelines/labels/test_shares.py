"""Shares in place of 0 and 1 are refused, and not left out as if they were no labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.labels import LabelError, LabelOptions
from tests.pipelines.labels.reading import findings_of, read_with, refusal, tags_of, write

REMEDY = "write 0 and 1 there, such as 1 from 0.5 on, or remove these columns if they are no labels"


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ("a.jpg,1,0.3\nb.jpg,0,0.8\n", "road"),
        ("a.jpg,0.1,0.9\nb.jpg,1,0\n", "sea, road"),
        # Most cells of a column may be 0 and 1.
        ("a.jpg,1,0\nb.jpg,0,0.5\nc.jpg,0,1\nd.jpg,0,1\n", "road"),
        ("a.jpg,1,0\nb.jpg,0,\nc.jpg,0,1e-3\n", "road"),
        ('a.jpg,1,"0,25"\nb.jpg,0,"1,0"\n', "road"),
    ],
)
def test_shares_next_to_labels_are_refused(rows: str, columns: str, tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", f"image,sea,road\n{rows}")
    told = f"columns of shares from 0 to 1, which may be labels: {columns}; {REMEDY}"
    assert refusal(file) == told
    with pytest.raises(LabelError, match="which may be labels"):
        read_with(file, LabelOptions(tags_columns=("none",)))


@pytest.mark.parametrize(
    "header",
    [
        *("confidence", "cloud_cover", "Weight", "lat", "quality", "brightness", "cloud_pct", "cloudProbability"),
        *("valid fraction", "mean_1", "NDVI mean", "min_x", "image quality", "no-data share", "sun_elevation"),
    ],
)
@pytest.mark.parametrize("other", ["0.3", "0"])
def test_measures_of_an_image_are_no_labels(header: str, other: str, tmp_path: Path) -> None:
    """Neither are those of which most are 0, as the share of clouds is of clear images."""
    file = write(tmp_path, "labels.csv", f"image,sea,{header}\na.jpg,1,{other}\nb.jpg,0,0.8\n")
    assert tags_of(file) == {"a.jpg": {"sea"}, "b.jpg": set()}
    assert findings_of(file) == [f"1 column with values other than 0 and 1, ignored: {header}"]


@pytest.mark.parametrize(
    "header", ["cloud", "red", "water_fraction", "snow_cover", "forest_probability", "area", "clear"]
)
def test_what_may_be_a_label_is_no_measure(header: str, tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", f"image,sea,{header}\na.jpg,1,0.3\nb.jpg,0,0.8\n")
    assert refusal(file) == f"columns of shares from 0 to 1, which may be labels: {header}; {REMEDY}"


def test_other_numbers_are_no_shares(tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", "image,sea,height,fold\na.jpg,1,0.3,0.5\nb.jpg,0,20,1\n")
    assert findings_of(file) == [
        "1 column that may divide the images, ignored (train follows one that --split_column names): fold",
        "1 column with values other than 0 and 1, ignored: height",
    ]
    # A column to divide the images by is none either.
    kept = write(tmp_path, "kept.csv", "image,sea,part\na.jpg,1,0.3\nb.jpg,0,0.8\n")
    assert read_with(kept, LabelOptions(keep=("part",))).labels == ("sea",)

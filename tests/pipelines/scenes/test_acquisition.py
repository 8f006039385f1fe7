"""When a scene was taken, from the metadata of its file, and nothing where that is not certain."""

from __future__ import annotations

import pytest

from pipelines.scenes.georeference import read_georeference
from tests.pipelines.scenes import geotiffs
from tests.pipelines.scenes.geo_tags import read

METADATA = '<GDALMetadata>\n  <Item name="{}"{}>{}</Item>\n</GDALMetadata>\n\0'


@pytest.mark.parametrize(
    ("name", "text", "taken"),
    [
        ("ACQUISITIONDATETIME", "2013-03-10 10:07:35", "2013-03-10T10:07:35Z"),
        ("DATATAKE_1_DATATAKE_SENSING_START", "2020-01-02T03:04:05.024Z", "2020-01-02T03:04:05Z"),
        ("PRODUCT_START_TIME", "2020-01-02T03:04:05.024Z", "2020-01-02T03:04:05Z"),
        ("GENERATION_TIME", "2020-01-02T03:04:05.024Z", ""),
        ("ACQUISITIONDATETIME", "2013-13-10 10:07:35", ""),
        ("ACQUISITIONDATETIME", "yesterday", ""),
    ],
)
def test_only_items_that_mean_the_acquisition_say_when_a_scene_was_taken(name: str, text: str, taken: str) -> None:
    metadata = METADATA.format(name, "", text).encode()
    assert read(extra={42112: metadata, 306: b"2019:01:02 03:04:05\0"}).taken == taken


def test_the_time_at_which_a_file_was_written_is_not_when_it_was_taken() -> None:
    assert read(extra={306: b"2020:01:02 03:04:05\0"}).taken == ""


def test_metadata_that_gdal_writes_are_understood() -> None:
    tags = geotiffs.written(
        "EPSG:32633", (10, 0, 0, 0, -10, 0), metadata={"ACQUISITIONDATETIME": "2013-03-10 10:07:35"}
    )
    georeference = read_georeference(*tags)
    assert georeference is not None
    assert georeference.taken == "2013-03-10T10:07:35Z"


def test_landsats_day_and_time_are_joined() -> None:
    items = '<Item name="DATE_ACQUIRED">2021-05-06</Item><Item name="SCENE_CENTER_TIME">"10:20:30.1234560Z"</Item>'
    assert read(extra={42112: f"<GDALMetadata>{items}</GDALMetadata>".encode()}).taken == "2021-05-06T10:20:30Z"


@pytest.mark.parametrize(
    "metadata",
    [
        b"<GDALMetadata><Item",
        b"\xff\xfe",
        b'<!DOCTYPE x [<!ENTITY a "2013-03-10 10:07:35">]><G><Item name="ACQUISITIONDATETIME">&a;</Item></G>',
        METADATA.format("ACQUISITIONDATETIME", ' sample="0"', "2013-03-10 10:07:35").encode(),
    ],
)
def test_metadata_that_are_not_understood_say_nothing(metadata: bytes) -> None:
    assert read(extra={42112: metadata}).taken == ""

from __future__ import annotations

import threading
from collections.abc import Sequence
from random import Random

import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.records import Footprint
from pipelines.scenes.footprint import locate, unlocated
from pipelines.scenes.georeference import Georeference, read_georeference
from pipelines.scenes.ground import Ground, ground_of
from tests.pipelines.scenes import geotiffs

NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
BOX = (700, 300, 256, 192)
SIZE = (1000, 600)
ALBERS = "+proj=aea +lat_1=20 +lat_2=60 +lat_0=40 +lon_0=-96 +x_0=0 +y_0=0 +datum=NAD83 +units={} +no_defs"
LAMBERT = "+proj=lcc +lat_1=33 +lat_2=45 +lat_0=39 +lon_0=-96 +x_0=1000 +y_0=0 +datum=NAD83 +units=us-ft +no_defs"
LAMBERT_1SP = "+proj=lcc +lat_1=46.5 +lat_0=46.5 +lon_0=3 +k_0=0.99987742 +x_0=6e5 +y_0=2.2e6 +datum=WGS84 +no_defs"
TRANSVERSE = "+proj=tmerc +lat_0=10 +lon_0=-71.5 +k=0.9995 +x_0=200000 +y_0=1000 +datum=WGS84 +units=m +no_defs"
MODIS = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
AZIMUTHAL = "+proj=laea +lat_0=-15 +lon_0=-60 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
POLAR = "+proj=stere +lat_0=90 +lat_ts=75 +lon_0=-40 +x_0=100 +y_0=0 +datum=WGS84 +units=m +no_defs"
MERCATOR = "+proj=merc +lon_0=100 +lat_ts=15 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
OTHERS = [
    f"+proj={projection} +x_0=1000 +y_0=2000 +datum=WGS84 +units=m +no_defs"
    for projection in (
        "aeqd +lat_0=-50 +lon_0=170",
        "eqdc +lat_1=20 +lat_2=60 +lat_0=40 +lon_0=20",
        "sterea +lat_0=52 +lon_0=5 +k=0.9999",
        "cass +lat_0=10 +lon_0=-61",
        "poly +lat_0=0 +lon_0=-54",
        "robin +lon_0=20",
        "cea +lat_ts=30 +lon_0=20",
    )
]
WEB_TURN = 2 * 20037508.342789244


def located(crs: str, transform: Sequence[float], box: geotiffs.Box, endianness: str = "LITTLE") -> Footprint:
    georeference = read_georeference(*geotiffs.written(crs, transform, endianness=endianness))
    assert unlocated(georeference, *SIZE) == ""
    footprint = locate(georeference, *box)
    assert all(geotiffs.area(ring) > 0 for ring in geotiffs.rings_of(footprint.geometry))
    return footprint


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", NORTH_UP),
        ("EPSG:32733", NORTH_UP),
        ("EPSG:32633", (10, 0, 500_000, 0, 10, 5_000_000)),
        ("EPSG:32633", (8, 6, 500_000, 6, -8, 5_000_000)),
        ("EPSG:32633", (8, 6, 500_000, 0, -10, 5_000_000)),
        ("EPSG:32633", (-10, 0, 500_000, 0, -10, 5_000_000)),
        ("EPSG:32633", (60, 0, 300_000, 0, -60, 8_000_000)),
        ("EPSG:3857", (0.6, 0, 1_000_000, 0, -0.6, 6_000_000)),
        ("EPSG:3857", (4, 3, 1_000_000, 3, -4, 6_000_000)),
        ("EPSG:4326", (1e-4, 0, 13, 0, -1e-4, 52)),
        ("EPSG:4326", (8e-5, 6e-5, 13, 6e-5, -8e-5, 52)),
        ("EPSG:4269", (1e-4, 0, -100, 0, -1e-4, 40)),
        ("EPSG:4267", (1e-4, 0, -100, 0, -1e-4, 40)),
        ("EPSG:5070", (30, 0, -2_000_000, 0, -30, 2_000_000)),
        ("EPSG:2263", (1, 0, 980_000, 0, -1, 200_000)),
        ("EPSG:27700", (25, 0, 400_000, 0, -25, 400_000)),
        ("EPSG:3413", (30, 0, 1_000_000, 0, -30, 1_000_000)),
        ("EPSG:3031", (30, 0, 1_000_000, 0, -30, 1_000_000)),
        ("ESRI:54008", (463.3, 0, 1_000_000, 0, -463.3, 2_000_000)),
        ("ESRI:102003", (30, 0, -1_000_000, 0, -30, 1_000_000)),
        (ALBERS.format("m"), (30, 0, -1_000_000, 0, -30, 1_000_000)),
        (ALBERS.format("us-ft"), (3, 0, -1_000_000, 0, -3, 1_000_000)),
        (LAMBERT, (3, 0, -1_000_000, 0, -3, 1_000_000)),
        (LAMBERT_1SP, (3, 0, 700_000, 0, -3, 2_000_000)),
        (TRANSVERSE, (3, 0, 300_000, 0, -3, 1_000_000)),
        (MODIS, (463.3, 0, 1_000_000, 0, -463.3, 2_000_000)),
        (AZIMUTHAL, (30, 0, 100_000, 0, -30, 200_000)),
        (POLAR, (30, 0, 100_000, 0, -30, -200_000)),
        (MERCATOR, (30, 0, 100_000, 0, -30, 200_000)),
        *((crs, (30, 0, 100_000, 0, -30, 200_000)) for crs in OTHERS),
    ],
)
def test_a_window_lies_where_pyproj_puts_its_corners(crs: str, transform: Sequence[float]) -> None:
    footprint = located(crs, transform, BOX)
    assert geotiffs.off_the_window(footprint, transform, geotiffs.judge(crs), BOX) < 0.1


def test_tags_of_either_byte_order_are_read() -> None:
    assert located("EPSG:32633", NORTH_UP, BOX, "BIG") == located("EPSG:32633", NORTH_UP, BOX)


def test_the_bounds_are_those_of_the_polygon() -> None:
    footprint = located("EPSG:32633", NORTH_UP, BOX)
    (ring,) = geotiffs.rings_of(footprint.geometry)
    longitudes, latitudes = zip(*ring, strict=True)
    assert footprint.bounds == (min(longitudes), min(latitudes), max(longitudes), max(latitudes))
    assert len(ring) == 5


@pytest.mark.parametrize(
    ("crs", "transform", "around"),
    [
        ("EPSG:32701", (100, 0, 100_000, 0, -100, 8_200_000), 0.0),
        ("EPSG:32760", (100, 0, 735_000, 0, -100, 8_200_000), 0.0),
        ("EPSG:3832", (10, 0, 3_331_500, 0, -10, -1_900_000), 0.0),
        ("EPSG:4326", (1e-4, 0, 179.92, 0, -1e-4, -16), 360.0),
        ("EPSG:4326", (1e-4, 0, -180.08, 0, -1e-4, -16), 360.0),
        ("EPSG:3857", (10, 0, WEB_TURN / 2 - 8_000, 0, -10, -1_900_000), WEB_TURN),
        ("EPSG:3413", (1000, 0, -1_628_000, 0, -1000, 1_200_000), 0.0),
    ],
)
def test_a_window_across_the_antimeridian_is_split(crs: str, transform: Sequence[float], around: float) -> None:
    footprint = located(crs, transform, BOX)
    west, east = sorted(geotiffs.rings_of(footprint.geometry))
    assert max(longitude for longitude, _ in west) < 0 < min(longitude for longitude, _ in east)
    assert (max(east)[0], min(west)[0]) == (180, -180)
    assert footprint.bounds[::2] == (-180, 180)
    assert geotiffs.off_the_window(footprint, transform, geotiffs.judge(crs), BOX, around) < 0.1


@pytest.mark.parametrize("first", [-180.0, 0.0])
def test_a_window_of_the_whole_earth_is_the_whole_earth(first: float) -> None:
    footprint = located("EPSG:4326", (1, 0, first, 0, -1, 90), (0, 0, 360, 180))
    assert list(footprint.bounds) == [-180, -90, 180, 90]
    assert sum(map(geotiffs.area, geotiffs.rings_of(footprint.geometry))) == 360 * 180


def test_columns_that_a_raster_of_the_whole_earth_repeats_are_there_once() -> None:
    footprint = located("EPSG:4326", (0.25, 0, -180.125, 0, -0.25, 90.125), (0, 0, 1442, 721))
    (ring,) = geotiffs.rings_of(footprint.geometry)
    assert geotiffs.area(ring) == 360 * 180


def test_a_window_that_ends_at_the_antimeridian_is_not_split() -> None:
    footprint = located("EPSG:4326", (0.1, 0, 170, 0, -0.1, 10), (0, 0, 100, 100))
    (ring,) = geotiffs.rings_of(footprint.geometry)
    assert list(footprint.bounds) == [170, 0, 180, 10]
    assert len(ring) == 5


@pytest.mark.parametrize(("crs", "latitude"), [("EPSG:3031", -90), ("EPSG:3413", 90), ("EPSG:3995", 90)])
@pytest.mark.parametrize("west", [-12_800.0, -300.0, -25_590.0])
def test_a_window_with_a_pole_inside_is_a_cap_around_it(crs: str, latitude: float, west: float) -> None:
    transform, box = (100, 0, west, 0, -100, 12_800), (0, 0, 256, 256)
    footprint = located(crs, transform, box)
    (ring,) = geotiffs.rings_of(footprint.geometry)
    assert footprint.bounds[::2] == (-180, 180)
    assert latitude in footprint.bounds
    assert {(-180, latitude), (180, latitude)} <= set(ring)
    assert geotiffs.off_the_window(footprint, transform, geotiffs.judge(crs), box) < 0.1


@pytest.mark.parametrize(("box", "width"), [((0, 0, 128, 128), 90), ((0, 0, 256, 128), 180), ((64, 0, 128, 128), 180)])
def test_a_window_with_a_pole_on_its_edge_reaches_it_at_every_longitude_between(
    box: geotiffs.Box, width: float
) -> None:
    transform = (100, 0, -12_800, 0, -100, 12_800)
    footprint = located("EPSG:3031", transform, box)
    at_pole = [x for ring in geotiffs.rings_of(footprint.geometry) for x, y in ring if y == -90]
    assert max(at_pole) - min(at_pole) == pytest.approx(width, abs=1e-6)
    assert geotiffs.off_the_window(footprint, transform, geotiffs.judge("EPSG:3031"), box) < 0.1


def test_pixels_at_the_poles_reach_no_further_than_the_poles() -> None:
    footprint = located("EPSG:4326", (0.25, 0, -180.125, 0, -0.25, 90.125), (0, 0, 256, 256))
    assert footprint.bounds[3] == 90


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", (10, 0, 5e8, 0, -10, 5e6)),
        ("EPSG:4326", (10, 0, 5e5, 0, -10, 50)),
        ("EPSG:4326", (1e-3, 0, 5e5, 0, -1e-3, 50)),
        ("EPSG:4326", (1, 0, 0, 0, -1, 500)),
        ("EPSG:4326", (0.3, 0.1, 0, 0.1, -0.3, 89)),
        ("EPSG:4326", (2, 0, -180, 0, -2, 90)),
        ("EPSG:3857", (1e6, 0, -2e7, 0, -10, 0)),
        ("ESRI:54008", (463.3, 0, -2e7, 0, -463.3, 9e6)),
        ("EPSG:3857", (1e300, 0, 0, 0, -1e300, 0)),
    ],
)
def test_a_window_beyond_its_projection_has_no_place(crs: str, transform: tuple[float, ...]) -> None:
    georeference = Georeference(transform, crs, "2020-01-02T03:04:05Z")
    assert locate(georeference, 0, 0, 256, 256) == Footprint(taken="2020-01-02T03:04:05Z")


def test_a_scene_beyond_its_projection_gives_a_reason_and_one_that_is_partly_there_none() -> None:
    # The first pixels of a global raster in a sinusoidal projection lie beyond the Earth.
    modis = Georeference((463.3, 0, -2e7, 0, -463.3, 1e7), "ESRI:54008")
    assert unlocated(modis, 86_400, 43_200) == ""
    assert unlocated(modis, 256, 256) == "it reaches beyond what its coordinate reference system can show"


@pytest.mark.parametrize(
    ("crs", "unit", "reason"),
    [
        ("EPSG:9999", 0, "PROJ does not know where on Earth EPSG:9999 lies"),
        ("EPSG:4008", 0, "PROJ does not know where on Earth EPSG:4008 lies"),
        ("EPSG:4978", 0, "its coordinate reference system is neither projected nor geographic"),
        ("EPSG:2263", 1.0, "the unit of its coordinates contradicts its coordinate reference system"),
        ("EPSG:2263", 0.3048, "the unit of its coordinates contradicts its coordinate reference system"),
    ],
)
def test_a_reference_system_that_is_not_understood_gives_a_reason(crs: str, unit: float, reason: str) -> None:
    georeference = Georeference(NORTH_UP, crs, unit=unit)
    assert unlocated(georeference, *SIZE) == reason
    assert locate(georeference, *BOX) == Footprint()


POLES_AND_ANTIMERIDIAN = {
    "EPSG:3031": (100, (-30_000, 30_000)),
    "EPSG:3413": (20_000, (-5e6, 5e6)),
    "EPSG:32701": (100, (100_000, 200_000)),
    "EPSG:3832": (1000, (3.2e6, 3.4e6)),
    "EPSG:3571": (10_000, (-3e6, 3e6)),
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(POLES_AND_ANTIMERIDIAN)), st.randoms(use_true_random=False))
def test_every_pixel_of_a_window_lies_in_one_of_its_polygons_and_its_neighbours_in_none(
    crs: str, random: Random
) -> None:
    pixel, span = POLES_AND_ANTIMERIDIAN[crs]
    transform = (pixel, 0, random.uniform(*span), 0, -pixel, random.uniform(*span))
    footprint = locate(Georeference(transform, crs), 0, 0, 200, 100)
    rings = geotiffs.rings_of(footprint.geometry)
    ground = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    for column, row in ((random.uniform(-200, 400), random.uniform(-100, 200)) for _ in range(20)):
        place = ground.transform(transform[0] * column + transform[2], transform[4] * row + transform[5])
        inside = 0 < column < 200 and 0 < row < 100
        if min(abs(column), abs(column - 200), abs(row), abs(row - 100)) > 0.1:
            assert sum(geotiffs.surrounds(ring, place) for ring in rings) == inside


def test_a_scene_that_says_nothing_of_its_place_gives_a_reason() -> None:
    assert locate(None, *BOX) == Footprint()
    assert unlocated(None, *SIZE) == "it does not say where it lies"


def test_threads_do_not_share_transformers() -> None:
    georeference = Georeference(NORTH_UP, "EPSG:32633")
    of_others: list[Ground] = []
    other = threading.Thread(target=lambda: of_others.append(ground_of("EPSG:32633", 0)))
    other.start()
    other.join()
    assert ground_of("EPSG:32633", 0) is ground_of("EPSG:32633", 0)
    assert ground_of("EPSG:32633", 0) is not of_others[0]
    found: list[Footprint] = []
    threads = [
        threading.Thread(target=lambda: found.extend(locate(georeference, i, 0, 9, 9) for i in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert len(set(found)) == 50

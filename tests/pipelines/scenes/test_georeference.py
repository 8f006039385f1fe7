from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ScenetagsError
from pipelines.records import Footprint
from pipelines.scenes import ground
from pipelines.scenes.footprint import locate, unlocated
from pipelines.scenes.geokeys import UserDefined
from pipelines.scenes.georeference import Georeference, read_georeference
from tests.pipelines.scenes import geotiffs
from tests.pipelines.scenes.geo_tags import TIE, UTM, read, tags_of

ALBERS = {
    1024: 1,
    2048: 4269,
    3072: 32767,
    3075: 11,
    3078: 29.5,
    3079: 45.5,
    3080: -96.0,
    3081: 23.0,
    3082: 0.0,
    3083: 0.0,
}
UTM_WKT = (
    'PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,'
    '298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",15.0],'
    'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
)
ALBERS_WKT = (
    'PROJCS["NAD_1983_Albers_of_Ours",GEOGCS["GCS_North_American_1983",DATUM["D_North_American_1983",'
    'SPHEROID["GRS_1980",6378137.0,298.257222101]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],'
    'PROJECTION["Albers"],PARAMETER["False_Easting",0.0],PARAMETER["False_Northing",0.0],'
    'PARAMETER["Central_Meridian",-96.0],PARAMETER["Standard_Parallel_1",29.5],PARAMETER["Standard_Parallel_2",45.5],'
    'PARAMETER["Latitude_Of_Origin",23.0],UNIT["Meter",1.0]]'
)
BOX = (0, 0, 256, 256)
SIZE = (256, 256)
BEYOND = "it reaches beyond what its coordinate reference system can show"


def bounds(georeference: Georeference) -> tuple[float, ...]:
    return locate(georeference, *BOX).bounds


def test_a_tie_point_and_a_scale_place_the_outer_corner_of_the_first_pixel() -> None:
    assert read()[:2] == ((10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")


def test_a_tie_point_may_be_any_pixel() -> None:
    assert read(ties=(3, 2, 0, 500_030, 4_999_980, 0)) == read()


def test_pixels_that_are_points_are_placed_by_their_centres() -> None:
    point = {**UTM, 1025: 2}
    assert read(keys=point).transform == (10, 0, 499_995, 0, -10, 5_000_005)
    matrix = (8.0, 6.0, 0.0, 500_000.0, 6.0, -8.0, 0.0, 5_000_000.0, *(0.0,) * 7, 1.0)
    assert read(keys=point, scale=(), ties=(), matrix=matrix).transform == (8, 6, 499_993, 6, -8, 5_000_001)
    written = geotiffs.written("EPSG:32633", (10, 0, 500_000, 0, -10, 5_000_000), metadata={"AREA_OR_POINT": "Point"})
    georeference = read_georeference(*written)
    assert georeference is not None
    assert georeference.transform == (10, 0, 500_000, 0, -10, 5_000_000)


def test_several_tie_points_must_agree_with_the_scale() -> None:
    agreeing = (*TIE, 100.0, 100.0, 0.0, 501_000.0, 4_999_000.0, 0.0)
    assert read(ties=agreeing) == read()
    contradicting = (*TIE, 100.0, 100.0, 0.0, 501_002.0, 4_999_000.0, 0.0)
    assert read(ties=contradicting).reason == "its tie points contradict its pixel scale"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"scale": (), "ties": TIE * 4}, "it has ground control points alone, between which pixels may lie anywhere"),
        ({"scale": (0.0, 0.0, 0.0)}, "the tags that say where its pixels lie are incomplete"),
        ({"scale": (10.0, 0.0, 0.0)}, "the tags that say where its pixels lie are incomplete"),
        ({"ties": ()}, "the tags that say where its pixels lie are incomplete"),
        ({"scale": (math.nan, 10.0, 0.0)}, "its transform holds numbers that are not finite"),
        ({"scale": (math.inf, 10.0, 0.0)}, "its transform holds numbers that are not finite"),
        ({"ties": (0, 0, 0, math.nan, 0, 0)}, "its transform holds numbers that are not finite"),
        ({"scale": (10.0, -10.0, 0.0)}, "the scale of its rows is negative, which programs interpret differently"),
        ({"scale": (), "matrix": (1.0, 2.0, 0.0, 0.0) * 4}, "its pixels have no area on the ground"),
        ({"keys": {}}, "it names no coordinate reference system"),
        ({"keys": {1024: 3}}, "its coordinates are of model type 3, neither projected nor geographic"),
        ({"keys": {1024: 1, 3072: 32767, 2048: 4326}}, "its projection is of a kind that is not understood: None"),
        (
            {"keys": {1024: 32767, 2048: 4326, 3073: "PROJCS of ours"}},
            "its projection is of a kind that is not understood: None",
        ),
        ({"keys": {2048: 4326, 3076: 9001}}, "it names no coordinate reference system"),
        ({"keys": {1024: 32767, 1026: "site grid", 3076: 9001}}, "it names no coordinate reference system"),
        ({"keys": {**ALBERS, 3075: 3}}, "its projection is of a kind that is not understood: 3"),
        ({"keys": {**ALBERS, 3075: 17}}, "its projection is of a kind that is not understood: 17"),
        ({"keys": {**ALBERS, 3074: 10101}}, "its projection has a code that is not understood: 10101"),
        ({"keys": {**ALBERS, 3076: 9060}}, "its coordinates are in a unit that is not understood: 9060"),
        ({"keys": {**UTM, 3076: 9060}}, "its coordinates are in a unit that is not understood: 9060"),
        ({"keys": {1024: 2, 2048: 4326, 2054: 9108}}, "its coordinates are in a unit that is not understood: 9108"),
        (
            {"keys": {**ALBERS, 3075: 7, 3081: 0.0, 3073: "Pseudo-Mercator"}},
            "its Mercator projection may be that of the web",
        ),
        ({"keys": {**ALBERS, 2054: 9105}}, "the angles of its projection are not in degrees"),
        ({"keys": {**ALBERS, 3084: -95.0}}, "a parameter of its projection is missing or contradictory"),
        ({"keys": {1024: 2, 2048: 32767, 2056: 7008}}, "its datum is not understood"),
        ({"keys": {1024: 2, 2048: 32767, 2056: 7030, 2062: 100.0}}, "its datum is not understood"),
        (
            {"keys": {1024: 2, 2048: 32767, 2056: 7030, 2051: 8903}},
            "its prime meridian is not Greenwich",
        ),
        (
            {"keys": {1024: 1, 3072: 32767, 3073: "ESRI PE String = " + UTM_WKT[:-1] + ',EXTENSION["PROJ4","+proj"]]'}},
            "the WKT of its coordinate reference system is not understood",
        ),
    ],
)
def test_what_is_not_understood_is_a_reason_and_no_place(parts: Mapping[str, object], reason: str) -> None:
    georeference = read(**parts)
    assert unlocated(georeference, *SIZE) == reason
    assert locate(georeference, *BOX) == Footprint()


def test_a_plain_tiff_says_nothing_of_its_place() -> None:
    assert read_georeference({306: b"2020:01:02 03:04:05\0"}, "<") is None
    rational_polynomials = {50844: bytes(92 * 8)}
    assert read_georeference(rational_polynomials, "<") is None


def test_a_projection_by_its_parameters_lies_where_the_same_one_by_its_code_does() -> None:
    place = {"ties": (0.0, 0.0, 0.0, -1_000_000.0, 1_000_000.0, 0.0)}
    by_code = bounds(read(keys={1024: 1, 3072: 5070}, **place))
    assert bounds(read(keys=ALBERS, **place)) == pytest.approx(by_code, abs=1e-9)
    assert bounds(read(keys={**ALBERS, 2048: 32767, 2050: 6269}, **place)) == pytest.approx(by_code, abs=1e-9)
    feet = {"scale": (10 / 0.3048, 10 / 0.3048, 0), "ties": [number / 0.3048 for number in place["ties"]]}
    assert bounds(read(keys={**ALBERS, 3076: 9002}, **feet)) == pytest.approx(by_code, abs=1e-9)
    assert bounds(read(keys={**ALBERS, 3076: 32767, 3077: 0.3048}, **feet)) == pytest.approx(by_code, abs=1e-9)


@pytest.mark.parametrize("zone", [16033, 16133])
def test_a_utm_zone_may_be_the_code_of_a_projection(zone: int) -> None:
    south = zone > 16100
    by_code = bounds(read(keys={**UTM, 3072: 32733 if south else 32633}))
    assert bounds(read(keys={1024: 1, 2048: 4326, 3072: 32767, 3074: zone})) == pytest.approx(by_code, abs=1e-9)


@pytest.mark.parametrize("key", [1026, 3073])
def test_wkt_that_esri_writes_into_a_citation_is_used(key: int) -> None:
    georeference = read(keys={1024: 1, 3072: 32767, key: "ESRI PE String = " + UTM_WKT})
    assert georeference.crs == UTM_WKT
    assert bounds(georeference) == pytest.approx(bounds(read()), abs=1e-9)


@pytest.mark.parametrize("crs", ["ESRI:54009", "+proj=eck2 +datum=WGS84 +type=crs"])
@pytest.mark.parametrize("corner", [(2_000_000, 5_000_000), (0, 50)], ids=str)
def test_a_projection_that_has_no_keys_is_that_of_its_wkt(crs: str, corner: tuple[float, float]) -> None:
    """GDAL calls the model the user's own, and adds the keys of the geographic system: metres are no degrees."""
    transform = (10, 0, corner[0], 0, -10, corner[1])
    georeference = read_georeference(*geotiffs.written(crs, transform))
    footprint = locate(georeference, 0, 0, 4, 4)
    assert geotiffs.off_the_window(footprint, transform, geotiffs.judge(crs), (0, 0, 4, 4)) < 0.2


def test_wkt_on_a_datum_of_many_transformations_has_that_of_its_code() -> None:
    place = {"ties": (0.0, 0.0, 0.0, -1_000_000.0, 1_000_000.0, 0.0)}
    georeference = read(keys={1024: 1, 3072: 32767, 3073: "ESRI PE String = " + ALBERS_WKT}, **place)
    assert bounds(georeference) == pytest.approx(bounds(read(keys={1024: 1, 3072: 5070}, **place)), abs=1e-9)


def test_codes_beyond_those_of_epsg_are_esris() -> None:
    assert read(keys={1024: 1, 3072: 54008}).crs == "ESRI:54008"


def test_a_geographic_system_in_grads_from_paris_is_understood() -> None:
    grads = {"scale": (1e-3, 1e-3, 0), "ties": (0, 0, 0, 0.0, 50.0, 0)}
    west, _, _, north = bounds(read(keys={1024: 2, 2048: 4807, 2054: 9105}, **grads))
    assert (west, north) == pytest.approx((2.337, 45), abs=1e-3)
    degrees = read(keys={1024: 2, 2048: 4807, 2054: 9102}, **grads)
    assert unlocated(degrees, *SIZE) == "the unit of its coordinates contradicts its coordinate reference system"


def test_degrees_of_a_users_own_may_be_in_another_unit() -> None:
    own = {1024: 2, 2048: 32767, 2056: 7030, 2054: 9105}
    in_grads = bounds(read(keys=own, scale=(1e-3, 1e-3, 0), ties=(0, 0, 0, 10.0, 50.0, 0)))
    in_degrees = bounds(read(keys={1024: 2, 2048: 4326}, scale=(9e-4, 9e-4, 0), ties=(0, 0, 0, 9.0, 45.0, 0)))
    assert in_grads == pytest.approx(in_degrees, abs=1e-9)


def test_vertical_keys_are_ignored() -> None:
    assert read(keys={**UTM, 4096: 5703, 4099: 9001})[:-1] == read()[:-1]


def test_a_projection_of_a_files_own_can_be_a_key() -> None:
    crs = read(keys=ALBERS).crs
    assert isinstance(crs, UserDefined)
    assert hash(crs) == hash(read(keys=ALBERS).crs)


numbers = st.floats() | st.sampled_from([0.0, 1.0, -1.0, 90.0, -90.0, 180.0, 1e-300, 1e300, 6378137.0])
keys = st.dictionaries(
    st.sampled_from([1024, 1025, 1026, 2048, 2050, 2051, *range(2054, 2063), *range(3072, 3096)]),
    numbers
    | st.integers(0, 65535)
    | st.sampled_from([1, 2, 7, 8, 9, 10, 11, 15, 24, 32767, 4326, 32633, 9001, UTM_WKT, UTM_WKT[:200]]),
)
boxes = st.tuples(*[st.integers(-10, 10**9)] * 2, *[st.integers(1, 10**5)] * 2)


@settings(max_examples=100, deadline=None)
@given(keys, st.lists(numbers, max_size=3), st.lists(numbers, max_size=12), st.lists(numbers, max_size=16), boxes)
def test_no_numbers_of_a_stranger_raise_anything(
    keys: dict[int, int | float | str],
    scale: list[float],
    ties: list[float],
    matrix: list[float],
    box: tuple[int, int, int, int],
) -> None:
    georeference = read_georeference(tags_of(keys, scale=scale, ties=ties, matrix=matrix), "<")
    footprint = locate(georeference, *box)
    # The window may lie elsewhere than the scene.
    assert not footprint.geometry or unlocated(georeference, *SIZE) in ("", BEYOND)
    assert not footprint.geometry or all(map(math.isfinite, footprint.bounds))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([33550, 33922, 34264, 34735, 34736, 34737, 42112]), st.binary(max_size=200)))
def test_no_bytes_of_a_stranger_raise_anything(tags: dict[int, bytes]) -> None:
    for order in "<>":
        locate(read_georeference(tags, order), *BOX)


def test_a_missing_pyproj_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    with pytest.raises(ScenetagsError, match=r"needs pyproj; run pip install 'scenetags\[scenes\]'"):
        ground.Ground("EPSG:4326", 0)


def test_the_base_install_imports_it_without_pyproj() -> None:
    program = "import sys; from pipelines.scenes import footprint, georeference; print('pyproj' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

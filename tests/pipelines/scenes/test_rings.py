from __future__ import annotations

import pytest

from pipelines.scenes.rings import Points, split_at_antimeridian
from tests.pipelines.scenes import geotiffs


def parts_of(ring: Points) -> list[Points]:
    return sorted(sorted(part) for part in split_at_antimeridian(ring))


def test_a_ring_on_one_side_runs_counter_clockwise_and_stays_whole() -> None:
    clockwise = [(10.0, 0.0), (10.0, 1.0), (11.0, 1.0), (11.0, 0.0)]
    assert split_at_antimeridian(clockwise) == [clockwise[::-1]]


@pytest.mark.parametrize("turns", [-2, -1, 0, 1])
def test_longitudes_may_be_counted_from_anywhere(turns: int) -> None:
    ring = [(longitude + 360 * turns, latitude) for longitude, latitude in ((10.0, 0.0), (11.0, 0.0), (11.0, 1.0))]
    assert parts_of(ring) == [[(10, 0), (11, 0), (11, 1)]]


def test_an_edge_that_crosses_the_antimeridian_twice_leaves_three_parts() -> None:
    ring = [(181.0, 0.0), (182.0, 0.0), (182.0, 4.0), (179.0, 4.0), (181.0, 2.0), (179.0, 1.0), (179.0, 0.0)]
    assert parts_of(ring) == [
        [(-180, 0), (-180, 1.5), (-180, 3), (-180, 4), (-179, 0), (-179, 2), (-178, 0), (-178, 4)],
        [(179, 0), (179, 1), (180, 0), (180, 1.5)],
        [(179, 4), (180, 3), (180, 4)],
    ]


def test_what_is_split_has_the_area_of_the_whole() -> None:
    ring = [(170.0, -10.0), (200.0, -20.0), (190.0, 15.0), (178.0, 5.0)]
    parts = split_at_antimeridian(ring)
    whole = geotiffs.area([*ring, ring[0]])
    assert sum(geotiffs.area([*part, part[0]]) for part in parts) == pytest.approx(whole)
    assert all(geotiffs.area([*part, part[0]]) > 0 for part in parts)


def test_a_corner_on_the_antimeridian_is_in_each_part_once() -> None:
    ring = [(177.0, -17.3), (183.0, 1.1), (180.0, 5.0), (173.0, 5.9)]
    parts = split_at_antimeridian(ring)
    assert [part.count((180, 5)) + part.count((-180, 5)) for part in parts] == [1, 1]
    assert all(len(part) == len(set(part)) for part in parts)
    corner = [(170.0, 0.0), (180.0, -1.1), (187.0, 1.7), (180.0, 6.3)]
    assert parts_of(corner) == [[(-180, -1.1), (-180, 6.3), (-173, 1.7)], [(170, 0), (180, -1.1), (180, 6.3)]]


def test_a_ring_that_only_touches_the_antimeridian_has_no_other_part() -> None:
    ring = [(170.0, 0.0), (180.0, 1.0), (170.0, 2.0)]
    assert parts_of(ring) == [sorted(ring)]
    beyond = [(190.0, 0.0), (190.0, 2.0), (180.0, 1.0)]
    assert parts_of(beyond) == [[(-180, 1), (-170, 0), (-170, 2)]]


def test_a_point_that_touches_the_antimeridian_is_no_part_beside_others() -> None:
    ring = [(181.0, 0.0), (185.0, 0.0), (185.0, 5.0), (181.0, 5.0), (180.0, 4.0), (181.0, 3.0), (179.0, 2.0)]
    assert [part for part in parts_of(ring) if max(part)[0] > 0] == [[(179, 2), (180, 1), (180, 2.5)]]


def test_bfloat16_errors_put_nothing_beyond_the_antimeridian() -> None:
    ring = [(179.0, 0.0), (180 + 1e-11, 0.0), (180 + 1e-11, 1.0), (179.0, 1.0)]
    assert parts_of(ring) == [[(179, 0), (179, 1), (180, 0), (180, 1)]]

"""Images that belong together get the same number."""

from __future__ import annotations

import re

from model.data import groups


def test_a_pattern_names_groups_by_its_parentheses_or_by_all_that_it_matches() -> None:
    names = ["a/scene_12_3.jpg", "a/scene_12_4.jpg", "b/scene_7_1.jpg", "other.jpg"]
    assert groups.from_pattern(names, re.compile(r"scene_(\d+)")) == ["12", "12", "7", ""]
    assert groups.from_pattern(names, re.compile(r"scene_\d+")) == ["scene_12", "scene_12", "scene_7", ""]
    several = groups.from_pattern(names, re.compile(r"(.)/scene_(\d+)"))
    assert several[0] == several[1] != several[2]


def test_groups_of_several_kinds_are_joined() -> None:
    place = ["a", "a", "b", "", "", "c"]
    digest = ["1", "2", "3", "3", "4", "2"]
    assert groups.number(place).tolist() == [0, 0, 1, 2, 3, 4]
    assert groups.number(digest, place).tolist() == [0, 0, 1, 1, 2, 0]

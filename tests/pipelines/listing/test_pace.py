"""Files of this machine are looked up side by side where that takes long, and inputs that cannot overlap in no set."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.listing import InputError, list_images
from pipelines.listing.inputs import expand
from pipelines.listing.overlaps import can_repeat
from pipelines.scenes.documents import NO_DOCUMENTS, Documents
from tests.pipelines.listing.test_folders import PATTERNS, TREES, plant


@pytest.mark.parametrize("in_list", [False, True])
def test_files_that_take_long_are_looked_up_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_list: bool
) -> None:
    names = [f"{number:03}.jpg" for number in range(100)]
    plant(tmp_path, *names)
    (tmp_path / "list.txt").write_text("\n".join(names))
    looking, most, stat = Counter[str](), Counter[str](), os.stat
    look = list_images([], f"{tmp_path}/list.txt") if in_list else list_images([f"{tmp_path}/*.jpg"])

    def slow(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if str(path).endswith(".jpg"):
            looking["now"] += 1
            most["at once"] = max(most["at once"], looking["now"])
            time.sleep(0.001)
            looking["now"] -= 1
        return stat(path, *arguments, **more)

    monkeypatch.setattr(os, "stat", slow)
    listed = list(look)

    assert [item.path for item in listed] == [f"{tmp_path}/{name}" for name in names]
    assert most["at once"] > 4


def test_files_here_are_looked_up_without_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, *(f"{number}.jpg" for number in range(100)))
    started = set[str]()
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        started.add(thread.name.partition("_")[0])
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)

    assert len(list(list_images([str(tmp_path)]))) == 100
    assert started == {"ahead"}


@given(tree=TREES, patterns=st.lists(PATTERNS, min_size=1, max_size=3))
@settings(max_examples=10)
def test_inputs_repeat_no_path_where_they_are_said_not_to(tree: list[str], patterns: list[str]) -> None:
    files = [name for name in tree if not any(other.startswith(f"{name}/") for other in tree)]
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder), *files)
        inputs = [f"{folder}/{pattern}" for pattern in patterns]
        paths = []
        for pattern in inputs:
            try:
                paths += [item.path for item in expand(pattern)]
            except InputError:
                continue
        assert len(set(paths)) == len(paths) or can_repeat(inputs, None, NO_DOCUMENTS)


@pytest.mark.parametrize(
    ("inputs", "repeats"),
    [
        (["/a"], False),
        (["/a/*.jpg", "/b/*.jpg"], False),
        (["/a", "/a/b"], True),
        (["/a", "/a/"], True),
        (["/a/b*", "/a/bc/*"], True),
        (["gs://b/x*", "s3://b/x*"], False),
        (["gs://b/x/", "gs://c", "gs://b/x/y/*"], True),
        (["gs://b//x", "gs:///b/"], True),
        (["/a/*/../x"], True),
        (["item.json"], True),
        (["~/a", f"{os.path.expanduser('~')}/a/b"], True),
        (["a", f"{os.getcwd()}/a/x.tar::*"], True),
        (["/*", "/a"], True),
        ([".", "a/x.jpg"], True),
        (["/a/.", "/a/x.jpg"], True),
        (["/", "/a/x.jpg"], True),
        (["~", "~/x.jpg"], True),
    ],
)
def test_inputs_may_overlap_if_one_begins_like_the_other(inputs: list[str], repeats: bool) -> None:
    assert can_repeat(inputs, None, Documents(assets=("visual",))) == repeats
    assert can_repeat(list(chain(inputs[1:], inputs[:1])), None, Documents(assets=("visual",))) == repeats
    assert can_repeat([], "list.txt", NO_DOCUMENTS)

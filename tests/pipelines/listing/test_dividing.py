"""Ranges of buckets: whatever the names are, all ranges together are the listing, and they are about as large."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import storage
from pipelines.listing import dividing
from pipelines.listing.buckets import Area, list_area
from pipelines.listing.dividing import divide_area, find_borders, successor
from pipelines.records import Failure
from pipelines.storage import stores
from pipelines.storage.buckets import BucketStore
from pipelines.storage.objects import Page, PageRequest
from tests.conftest import Bucket
from tests.pipelines.listing.test_folders import Simulated

# At the ends of the ranges of characters that UTF-8 and UTF-16 put into different orders.
LETTERS = ["a", "b", "0", "9", "/", ".jpg", "\x7f", "\ud7ff", "\ue000", "\uffff", "\U0001f6f0", "\U0010ffff"]
KEYS = st.lists(st.lists(st.sampled_from(LETTERS), max_size=5).map("".join), min_size=1, max_size=40, unique=True)


@given(keys=KEYS, few=st.booleans())
@settings(max_examples=12)
def test_all_ranges_together_are_the_listing_in_its_order(keys: list[str], few: bool) -> None:
    objects = BucketStore(Simulated([f"x/{key}" for key in keys]))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "bucket_store", lambda path: objects)
        for name, value in {"SMALL": 1, "_UNEVEN": 1, "_GLIMPSE": 3, "_NOT_WORTH_A_LOOK": 3}.items():
            patch.setattr(dividing, name, value)
        patch.setattr(dividing, "_CHARACTERS", 2 if few else 32)
        for whole in (Area("gs://bucket/x/"), Area("gs://bucket/x/", "gs://bucket/x/**")):
            ranges = list(divide_area(whole))
            listed = [item for part in ranges for item in list_area(part, None)]

            assert listed == list(list_area(whole, None))
            assert len(ranges) >= min(len(keys) // 10, 2)
            assert [before.until for before, _ in pairwise(ranges)] == [part.after for part in ranges[1:]]
            assert (ranges[0].after, ranges[-1].until) == ("", "")


@pytest.mark.parametrize(
    ("names", "most", "looks"),
    [
        ([f"train_{number}.jpg" for number in range(100_000)], 0.012, 130),
        ([f"{number:09}.jpg" for number in range(100_000)], 0.012, 130),
        ([f"scene_{n // 40}/chip_{n % 40}.jpg" for n in range(80_000)], 0.06, 200),
        ([f"scene_{n // 400}/chip_{n % 400}.jpg" for n in range(80_000)], 0.06, 200),
        ([f"2021-{n % 12 + 1:02}-{n % 28 + 1:02}/img_{n}.jpg" for n in range(80_000)], 0.025, 300),
        ([f"test/{n}.jpg" for n in range(5_000)] + [f"a/b_{n:05}.jpg" for n in range(75_000)], 0.03, 300),
    ],
)
def test_ranges_are_even_and_found_in_few_requests(
    monkeypatch: pytest.MonkeyPatch, names: list[str], most: float, looks: int
) -> None:
    paths = sorted(f"gs://bucket/x/{name}" for name in names)
    looked = Counter[str]()

    def look(place: str) -> tuple[Sequence[str], bool]:
        looked[place] += 1
        begin = bisect_right(paths, place)
        return paths[begin : begin + 100], begin + 100 < len(paths)

    monkeypatch.setattr(dividing, "SMALL", 800)
    monkeypatch.setattr(dividing, "RANGES", 100)
    borders = find_borders("gs://bucket/x/", paths[:1000], look)

    places = [0, *(bisect_right(paths, border) for border in borders), len(paths)]
    assert max(after - before for before, after in pairwise(places)) <= most * len(paths)
    assert looked.total() <= looks


def test_a_text_comes_before_all_others_behind_those_that_begin_alike() -> None:
    assert successor("a/") == "a0"
    assert successor("a\ud7ff") == "a\ue000", "no character is a surrogate"
    assert successor("a\U0010ffff") == "b"


def test_pictures_of_bundles_are_left_out_wherever_a_range_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = ["bundle.json", "golden.npz", "reliability.png", "training.png"]
    keys = [f"x/{folder}{name}" for folder in ("b/", "b/m/") for name in bundle]
    keys += ["x/a.jpg", "x/c/training.png", "x/c/bundle.json"]
    objects = BucketStore(Simulated(keys))  # type: ignore[arg-type]
    monkeypatch.setattr(stores, "bucket_store", lambda path: objects)

    for border in ("", *(f"gs://bucket/{key}" for key in keys)):
        counted = Counter[str]()
        ranges = [Area("gs://bucket/x/", until=border), *([Area("gs://bucket/x/", after=border)] if border else [])]
        listed = [item.path for part in ranges for item in list_area(part, counted)]
        assert listed == ["gs://bucket/x/a.jpg", "gs://bucket/x/c/training.png"]
        assert counted["curves of bundles"] == 4


class Disordered(Simulated):
    """A bucket that lists in another order."""

    def page(self, asked: PageRequest) -> Page:
        return Page(super().page(PageRequest(asked.bucket, asked.prefix)).entries[::-1], (), None)


def test_a_range_of_a_bucket_without_order_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = BucketStore(Disordered([f"x/{number}.jpg" for number in range(5)]))  # type: ignore[arg-type]
    monkeypatch.setattr(stores, "bucket_store", lambda path: objects)

    *_, failure = list_area(Area("gs://bucket/x/", until="gs://bucket/x/9"), None)

    assert isinstance(failure, Failure)
    assert failure.error == "UnlistedFolderError"
    assert "not in the order of names" in failure.message
    assert len(list(list_area(Area("gs://bucket/x/"), None))) == 5


def test_a_bucket_lists_ranges(bucket: Bucket) -> None:
    names = ["a", "a.jpg", "a/b.jpg", "a\ufffd.jpg", "a\U0001f6f0 +%&.jpg", "b", "b/"]
    for name in names:
        storage.write(f"{bucket.path}/{name}", b"")
    paths = [f"{bucket.path}/{name}" for name in names]

    for begin in range(0, len(paths), 2):
        for end in range(begin, len(paths), 2):
            listed = [entry.path for entry in storage.walk(f"{bucket.path}/", paths[begin], paths[end])]
            assert listed == paths[begin + 1 : end + 1]
        assert storage.peek(f"{bucket.path}/", paths[begin], 2)[0][:1] == paths[begin + 1 : begin + 2]
    assert storage.peek(f"{bucket.path}/", "", 3) == (paths[:3], True)

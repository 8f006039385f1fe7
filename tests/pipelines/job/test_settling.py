"""What becomes of the names of a partition, without Beam."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from apache_beam.pvalue import TaggedOutput
from hypothesis import given
from hypothesis import strategies as st

from pipelines.archives.packed import pack, unpack
from pipelines.job.steps.listing import EarlierFile, Found, OpenListed
from pipelines.job.steps.settling import SettlePartition, each_once
from pipelines.job.steps.step import COUNTED, FAILED, POSTPONED
from pipelines.listing.scenes import CutSettings
from pipelines.output.identities import earlier_files
from pipelines.output.run import FAILURES, Accounts, Run, Wave, new_run_name
from pipelines.output.written import Superseded
from pipelines.records import ImageRef, Listed, Span, Window, not_listed
from tests.pipelines.output.rows import commit_rows

NUMBERED = st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abcdefgh")), max_size=60)


def image(name: str, size: int = 1) -> ImageRef:
    return ImageRef(f"/{name}.jpg", size, "print")


def window(column: int, part: int = 0) -> ImageRef:
    place = Window("/s.tif", column, 0, 8, 8, part, 8000, 8, 1)
    return ImageRef(f"/s.tif#xywh={column},0,8,8", 1, "print", window=place)


@given(NUMBERED, st.integers(1, 7), st.randoms(use_true_random=False))
def test_of_names_that_are_alike_the_first_counts_in_whatever_order_they_arrive(
    named: list[tuple[int, str]], length: int, order: random.Random
) -> None:
    # Its size shows which of several it is.
    items = [(number, image(name, number)) for number, name in named]
    packs = [pack(items[start : start + length]) for start in range(0, len(items), length)]
    order.shuffle(packs)

    found = [(listed.path, listed.size) for listed in each_once(packs) if isinstance(listed, ImageRef)]

    lowest: dict[str, int] = {}
    for number, name in named:
        lowest[f"/{name}.jpg"] = min(number, lowest.get(f"/{name}.jpg", number))
    assert sorted(found) == sorted(lowest.items())


def settled(
    run: Run, listed: Sequence[Listed], most: int | None = None
) -> tuple[list[tuple[str, list[str]]], dict[str, list[object]]]:
    """Settle a partition; return the packs of images to read with their keys, and everything else by its output."""
    step = SettlePartition(run, Wave(), most)
    step.start_bundle()
    packs: list[tuple[str, list[str]]] = []
    others: dict[str, list[object]] = {}
    for item in step.process((5, [pack(enumerate(listed))])):
        if isinstance(item, TaggedOutput):
            others.setdefault(item.tag, []).append(item.value)
        else:
            packs.append((item[0], [ref.path for _, ref in unpack(item[1])]))
    return packs, others


def test_images_travel_in_packs_and_what_is_read_together_has_a_key_of_its_own(run: Run) -> None:
    listed = [
        *(image(str(number)) for number in range(150)),
        *(window(8 * number, number // 5) for number in range(10)),
    ]

    packs, others = settled(run, [*listed, not_listed("/gone.jpg", FileNotFoundError("gone"))])

    assert sorted(path for _, paths in packs for path in paths) == sorted(ref.path for ref in listed)
    assert {key for key, paths in packs if "#" in paths[0]} == {"/s.tif#0", "/s.tif#1"}
    plain = [(key, paths) for key, paths in packs if "#" not in paths[0]]
    assert len(plain) == len({key for key, _ in plain}) == 3
    [counted] = others[COUNTED]
    assert counted == Accounts(inputs=161)
    assert len(others[FAILED]) == 1
    assert POSTPONED not in others


@pytest.mark.parametrize(("most", "taken"), [(4, 4), (1000, 30)])
def test_what_a_wave_does_not_take_is_counted_and_left_to_a_later_one(run: Run, most: int, taken: int) -> None:
    packs, others = settled(run, [image(str(number)) for number in range(30)], most)

    assert sum(len(paths) for _, paths in packs) == taken
    assert others[COUNTED] == [Accounts(inputs=taken)]
    assert others.get(POSTPONED, []) == [30 - taken] * (taken < 30)


def test_a_wave_takes_all_windows_that_are_read_together_or_none(run: Run) -> None:
    packs, others = settled(run, [window(8 * number, number // 5) for number in range(20)], most=7)

    assert sorted(len(paths) for _, paths in packs) == [5, 5]
    assert others[POSTPONED] == [10]


def test_the_failure_of_an_archive_is_deleted_in_whatever_partition_it_is(run: Run) -> None:
    run = replace(run, name=new_run_name())
    commit_rows(run, {"/x.tar": (FAILURES, "")})
    later = replace(run, name=new_run_name())
    place = Span("/x.tar", 512, 1, "tar", completes=True)
    listing = OpenListed(later, CutSettings(later.grid, later.rendering, 1))
    listing.start_bundle()
    last = pack([(0, image("last")._replace(place=place))])
    parts: list[Found] = [last, *map(EarlierFile, earlier_files(run.folder, None))]

    found = [item for part in parts for item in listing.process(part)]
    found += [item.value for item in listing.finish_bundle() if not isinstance(item, TaggedOutput)]

    partitions = defaultdict(list)
    for partition, item in found:
        partitions[partition].append(item)
    assert len(partitions) == 2
    step = SettlePartition(later, Wave())
    deleted = [
        item.value for those in partitions.items() for item in step.process(those) if isinstance(item, TaggedOutput)
    ]
    assert [row.path for row in deleted if isinstance(row, Superseded)] == ["/x.tar"]

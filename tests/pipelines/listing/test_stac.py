from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import storage
from pipelines.listing import stac
from pipelines.listing.inputs import expand
from pipelines.listing.lookup import InputError
from pipelines.listing.references import Reference
from pipelines.listing.stac import list_assets, read_stac
from pipelines.listing.stac_items import Asset
from pipelines.output.run import HIDING
from pipelines.records import Failure, ImageRef, Item
from pipelines.scenes.documents import Documents
from tests.conftest import Bucket
from tests.pipelines.listing.stac_documents import TIME, catalogue, failures, found, item, write


def test_an_item_names_its_asset_relative_to_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "items" / "a.json", item("a", "../scenes/a.tif"))
    taken = Item("a", "2020-01-02T03:04:05.500000Z")
    assert list(read_stac(path, ["visual"])) == [Asset(taken, (Reference(f"{tmp_path}/scenes/a.tif"),))]


@pytest.mark.parametrize("time", [None, "", "2020-01-02", "2020-01-02T03:04:05", "0001-01-01T00:00:00+23:00", 5])
def test_an_item_without_an_instant_has_none(tmp_path: Path, time: object) -> None:
    path = write(tmp_path / "a.json", item("a", properties={"datetime": time}))
    assert [asset.item.taken for asset in read_stac(path, ["visual"]) if isinstance(asset, Asset)] == [""]


def test_an_item_of_a_range_was_taken_when_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", item("a", properties={"datetime": None, "start_datetime": TIME}))
    [asset] = read_stac(path, ["visual"])
    assert isinstance(asset, Asset)
    assert asset.item.taken == "2020-01-02T03:04:05.500000Z"


def test_a_catalogue_is_read_through_its_collections_and_items(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a" / "a.json", item("a"))
    write(tmp_path / "one" / "b" / "b.json", item("b", "/data/b.tif"))
    write(
        tmp_path / "one" / "collection.json", catalogue(("item", "./a/a.json"), ("item", "b/b.json"), kind="Collection")
    )
    write(tmp_path / "c.json", item("c", "gs://archive/c.tif"))
    path = write(tmp_path / "catalog.json", catalogue(("child", "one/collection.json"), ("item", "c.json")))
    assert sorted(found(path)) == [
        ("a", f"{tmp_path}/one/a/scene.tif"),
        ("b", "/data/b.tif"),
        ("c", "gs://archive/c.tif"),
    ]
    assert not failures(path)


def test_a_link_without_an_address_may_hide_an_item(tmp_path: Path) -> None:
    write(tmp_path / "a.json", item("a"))
    described = catalogue(("item", "a.json"), ("item", ""), ("license", ""))
    described["links"] += [{"rel": "child"}, {"rel": "item", "href": None}, {"rel": "self"}]
    described["links"] += [5, {"rel": ["item"], "href": "a.json"}, {"href": "a.json"}]
    path = write(tmp_path / "catalog.json", described)
    assert found(path) == [("a", f"{tmp_path}/scene.tif")]
    assert [(failure.path, failure.error) for failure in failures(path)] == [
        (f"{path}#link {number}", "UnlistedFolderError") for number in (1, 3, 4, 6, 7, 8)
    ]


@pytest.mark.parametrize("links", [None, "a.json", {"rel": "item", "href": "a.json"}])
def test_links_that_are_no_list_may_hide_items(tmp_path: Path, links: Any) -> None:
    write(tmp_path / "inner.json", {**catalogue(), "links": links})
    path = write(tmp_path / "catalog.json", catalogue(("child", "inner.json")))
    assert [failure.message for failure in failures(path)] == ["its links are not a list"]


def test_an_item_collection_needs_no_links(tmp_path: Path) -> None:
    described: dict[str, Any] = {"type": "FeatureCollection", "features": [item("a")]}
    none: tuple[list[Any] | None, ...] = (None, [])
    for links in none:
        path = write(tmp_path / "items.json", described | {"links": links})
        assert not failures(path)
    assert not failures(write(tmp_path / "items.json", described))


def test_catalogues_in_circles_and_items_named_twice_are_read_once(tmp_path: Path) -> None:
    write(tmp_path / "a.json", item("a"))
    write(tmp_path / "b.json", catalogue(("child", "catalog.json"), ("child", "b.json"), ("item", "./a.json")))
    path = write(tmp_path / "catalog.json", catalogue(("child", "b.json"), ("item", "a.json"), ("item", "x/../a.json")))
    assert found(path) == [("a", f"{tmp_path}/scene.tif")]
    assert not failures(path)


def test_items_of_a_collection_are_relative_to_their_own_address(tmp_path: Path) -> None:
    links = [{"rel": "self", "href": "s3://archive/items/b.json"}]
    features = [item("a"), item("b", "../b.tif", links=links), item("c", links=[{"rel": "self", "href": "c.json"}])]
    path = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": features})
    assert found(path) == [("a", f"{tmp_path}/scene.tif"), ("b", "s3://archive/b.tif"), ("c", f"{tmp_path}/scene.tif")]


def test_pages_of_an_item_collection_are_followed_however_many_they_are(tmp_path: Path) -> None:
    for page in range(36):
        links = [{"rel": "next", "href": f"{page + 1}.json"}] * (page < 35)
        write(tmp_path / f"{page}.json", {"type": "FeatureCollection", "features": [item(f"{page}")], "links": links})
    assert [identity for identity, _ in found(f"{tmp_path}/0.json")] == [f"{page}" for page in range(36)]
    path = write(
        tmp_path / "0.json",
        {"type": "FeatureCollection", "features": [], "links": [{"rel": "next", "href": "https://x.org/2"}]},
    )
    assert [failure.error in HIDING for failure in failures(path)] == [True]


@pytest.mark.parametrize("pattern", ["*.json", "**/*.json"])
def test_a_pattern_matches_documents(pattern: str, tmp_path: Path, bucket: Bucket) -> None:
    written = {"a.json": item("a", "a.tif"), "b.json": item("b", "b.tif"), "c.json": catalogue(("item", "a.json"))}
    for root in (str(tmp_path), bucket.path):
        for name, document in {**written, "d.json": {"type": "other"}}.items():
            storage.write(f"{root}/{name}", json.dumps(document).encode())
        for name in ("a.tif", "b.tif"):
            storage.write(f"{root}/{name}", b"scene")
        listed = list(expand(f"{root}/{pattern}", documents=Documents(("visual",))))
        found = [(one.item.id, one.path) for one in listed if isinstance(one, ImageRef) and one.item]
        assert found == [("a", f"{root}/a.tif"), ("b", f"{root}/b.tif")]
        [failure] = [one for one in listed if isinstance(one, Failure)]
        assert (failure.path, failure.error in HIDING) == (f"{root}/d.json", True)


def test_an_item_without_the_asset_is_a_failure_that_names_those_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": [item("a"), 5, item("")]})
    lacking, wrong, nameless = failures(path, "red")
    assert lacking.message == "item a has no asset red; its assets are: data, visual"
    assert (lacking.path, wrong.path, nameless.path) == (f"{path}#0", f"{path}#1", f"{path}#2")
    assert wrong.message == "not a STAC item with an id and assets"
    assert nameless.message == "its id is empty, longer than 1,000 characters, or not valid Unicode"
    assert not any(failure.error in HIDING for failure in failures(path, "red"))


def test_halves_of_characters_become_failures_that_can_be_written(tmp_path: Path) -> None:
    half = "\ud800"
    features = [item(half), item("b", assets={half: {}}), item("c", f"{half}.tif"), item("d", f"ftp://{half}")]
    path = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": features})
    listed = [*list_assets(path, ["visual"]), *list_assets(path, ["data", "visual", "data"])]
    assert len([failure for failure in listed if isinstance(failure, Failure)]) == 8
    for failure in listed:
        " ".join(map(str, failure)).encode()


def test_several_assets_of_an_item_are_named_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", item("a"))
    [asset] = read_stac(path, ["data", "visual"])
    assert isinstance(asset, Asset)
    assert [file.path for file in asset.files] == [f"{tmp_path}/x.tif", f"{tmp_path}/scene.tif"]
    [failure] = read_stac(path, ["data", "red"])
    assert isinstance(failure, Failure)
    assert failure.message == "item a has no asset red; its assets are: data, visual"


def test_what_cannot_be_read_may_hide_items_and_costs_no_other(tmp_path: Path) -> None:
    write(tmp_path / "a.json", item("a"))
    (tmp_path / "broken.json").write_text("{")
    write(tmp_path / "other.json", {"type": "Polygon"})
    links = [
        ("child", "missing.json"),
        ("child", "broken.json"),
        ("child", "other.json"),
        ("child", "http://x.org/?sig=SECRET"),
    ]
    path = write(tmp_path / "catalog.json", catalogue(*links, ("item", "a.json")))
    assert found(path) == [("a", f"{tmp_path}/scene.tif")]
    hidden = failures(path)
    assert {failure.error for failure in hidden} <= HIDING
    assert sorted(failure.path.removeprefix(f"{tmp_path}/").partition("#")[0] for failure in hidden) == [
        "broken.json",
        "catalog.json",
        "missing.json",
        "other.json",
    ]
    assert not any("SECRET" in f"{failure.path} {failure.message}" for failure in hidden)


def test_catalogues_nested_without_end_are_a_failure(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / f"{number}.json", catalogue(("child", f"{number + 1}.json")))
    (failure,) = failures(f"{tmp_path}/0.json")
    assert failure.message == "lies below 32 others"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"type": "Point"}', "[" * 100_000, '{"type": ["Feature"]}'])
def test_an_input_that_is_none_of_stacs_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"^/.*x.json: .*; give a STAC item, item collection or catalogue$"):
        list(read_stac(f"{tmp_path}/x.json", ["visual"]))


def test_a_document_of_any_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stac, "_MOST_BYTES_AHEAD", 1000)
    write(tmp_path / "big.json", item("a" * 2000))
    path = write(tmp_path / "catalog.json", catalogue(("item", "big.json")))
    (failure,) = failures(path)
    assert failure.path == f"{tmp_path}/big.json"


def test_a_catalogue_in_a_bucket_names_what_is_in_buckets_alone(bucket: Bucket) -> None:
    folder = bucket.path
    storage.write(f"{folder}/items/a.json", json.dumps(item("a", "../a//scene.tif")).encode())
    storage.write(f"{folder}/items/b.json", json.dumps(item("b", "/etc/passwd")).encode())
    storage.write(f"{folder}/items/c.json", json.dumps(item("c", "../" * 30 + "c.tif")).encode())
    links = [
        ("item", "items/a.json"),
        ("item", "items/b.json"),
        ("item", "items/c.json"),
        ("child", "file:///etc/x.json"),
    ]
    storage.write(f"{folder}/catalog.json", json.dumps(catalogue(*links)).encode())
    assert found(f"{folder}/catalog.json") == [("a", f"{folder}/a//scene.tif")]
    assert sorted(failure.message.partition(": ")[2] for failure in failures(f"{folder}/catalog.json")) == [
        "../" * 30 + "c.tif: leads out of the bucket",
        "/etc/passwd: a document in a bucket cannot name files of this machine",
        "a document in a bucket cannot name files of this machine",
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["Feature", "item", "child", "a.json"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "id", "assets", "visual", "href", "links", "rel", "features", "properties", "alternate"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["Feature", "FeatureCollection", "Catalog"]), values, values, values)
def test_no_document_of_a_stranger_raises_anything(
    tmp_path_factory: pytest.TempPathFactory, kind: str, assets: Any, links: Any, features: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    document = {"type": kind, "id": "a", "assets": assets, "links": links, "features": features}
    for listed in read_stac(write(folder / "stranger.json", document), ["visual"]):
        assert isinstance(listed, Asset | Failure)

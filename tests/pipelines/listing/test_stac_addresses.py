"""What the addresses in documents of STAC mean: files next to them, objects in buckets, and URLs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.listing.stac import list_assets
from pipelines.records import Failure, ImageRef
from tests.conftest import Bucket
from tests.pipelines.listing.stac_documents import catalogue, failures, found, item, write
from tools.proxy import Disturbance


def test_an_asset_on_the_web_is_taken_from_the_bucket_that_is_its_alternate(tmp_path: Path) -> None:
    alternate = {"s3": {"href": "s3://archive/a.tif"}}
    web = {"href": "https://x.org/a.tif?sig=SECRET", "alternate": alternate}
    path = write(tmp_path / "a.json", item("a", assets={"visual": web}))
    assert found(path) == [("a", "s3://archive/a.tif")]
    path = write(tmp_path / "b.json", item("b", assets={"visual": {**web, "alternate": None}}))
    (failure,) = failures(path)
    assert "https:// is not supported" in failure.message
    assert "SECRET" not in f"{failure.path} {failure.message}"


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("https://cogs.s3.us-west-2.amazonaws.com/a/b%20c.tif", "s3://cogs/a/b c.tif"),
        ("https://cogs.s3.amazonaws.com/a.tif", "s3://cogs/a.tif"),
        ("https://s3.eu-central-1.amazonaws.com/cogs/a.tif", "s3://cogs/a.tif"),
        ("https://storage.googleapis.com/cogs_1/a/b.tif", "gs://cogs_1/a/b.tif"),
        ("https://cogs.s3.amazonaws.com/a.tif?X-Amz-Signature=1", None),
        ("https://amazonaws.com/cogs/a.tif", None),
        ("https://x.org/.s3.amazonaws.com/a.tif", None),
    ],
)
def test_an_object_in_a_bucket_is_known_by_its_address_on_the_web(href: str, path: str | None, tmp_path: Path) -> None:
    document = write(tmp_path / "a.json", item("a", href))
    assert found(document) == ([("a", path)] if path else [])


@pytest.mark.parametrize(
    ("href", "named"),
    [
        ("a%20b.tif", "a b.tif"),
        ("file://HERE/a%20b.tif", "a b.tif"),
        ("HERE/a%20b.tif", "a b.tif"),
        ("a b.tif", "a b.tif"),
        ("c%20d.tif", "c%20d.tif"),
        ("c%2520d.tif", "c%20d.tif"),
        ("100%.tif", "100%.tif"),
        ("both%20.tif", "both%20.tif"),
        ("%2E%2E/HERE/a%20b.tif", None),
        ("gone%20.tif", None),
    ],
)
def test_an_address_is_a_url_unless_a_file_has_its_very_name(href: str, named: str | None, tmp_path: Path) -> None:
    for name in ("a b.tif", "c%20d.tif", "100%.tif", "both%20.tif", "both .tif"):
        (tmp_path / name).touch()
    path = write(tmp_path / "a.json", item("a", href.replace("HERE", str(tmp_path))))

    [listed] = list_assets(path, ["visual"])
    [stack] = list_assets(path, ["visual", "visual", "visual"])

    assert isinstance(listed, ImageRef) == isinstance(stack, ImageRef) == bool(named)
    if isinstance(listed, ImageRef) and isinstance(stack, ImageRef):
        assert listed.path == f"{tmp_path}/{named}"
        assert stack.stack
        assert {file.path for file in stack.stack.bands} == {listed.path}
    else:
        assert isinstance(listed, Failure)
        assert "%" in listed.path, "the address as it is written"


def test_an_address_is_a_url_where_a_bucket_refuses_what_does_not_exist(bucket: Bucket) -> None:
    """As Amazon's do, for those who may not list them."""
    bucket.proxy.disturb = lambda _, path: Disturbance(403) if "%25" in path else Disturbance()
    for name, content in (("items/a b.json", json.dumps(item("a", "c%20d.tif")).encode()), ("items/c d.tif", b"")):
        storage.write(f"{bucket.path}/{name}", content)
    catalog = f"{bucket.path}/catalog.json"
    storage.write(catalog, json.dumps(catalogue(("item", "items/a%20b.json"))).encode())
    assert [listed.path for listed in list_assets(catalog, ["visual"])] == [f"{bucket.path}/items/c d.tif"]


def test_a_link_to_a_document_is_a_url_too(tmp_path: Path, bucket: Bucket) -> None:
    for place in (str(tmp_path), bucket.path):
        documents = {
            "catalog.json": catalogue(("child", "my%20items/catalog.json"), ("child", "100%/catalog.json")),
            "my items/catalog.json": catalogue(("item", "a%20b.json")),
            "my items/a b.json": item("a"),
            "100%/catalog.json": catalogue(("item", "c.json")),
            "100%/c.json": item("c"),
        }
        for name, document in documents.items():
            if "://" not in place:
                (tmp_path / name).parent.mkdir(exist_ok=True)
            storage.write(f"{place}/{name}", json.dumps(document).encode())
        assert found(f"{place}/catalog.json") == [
            ("a", f"{place}/my items/scene.tif"),
            ("c", f"{place}/100%/scene.tif"),
        ]
        assert not failures(f"{place}/catalog.json")

"""Documents of STAC, written and listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.listing.stac import read_stac
from pipelines.listing.stac_items import Asset
from pipelines.records import Failure

TIME = "2020-01-02T04:04:05.5+01:00"


def item(identity: str, href: str = "scene.tif", **others: Any) -> dict[str, Any]:
    assets = {"visual": {"href": href}, "data": {"href": "x.tif"}}
    return {"type": "Feature", "id": identity, "properties": {"datetime": TIME}, "assets": assets, **others}


def catalogue(*links: tuple[str, str], kind: str = "Catalog") -> dict[str, Any]:
    return {"type": kind, "id": "c", "links": [{"rel": relation, "href": href} for relation, href in links]}


def write(path: Path, document: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return str(path)


def found(path: str, key: str = "visual") -> list[tuple[str, str]]:
    return [(asset.item.id, asset.files[0].path) for asset in read_stac(path, [key]) if isinstance(asset, Asset)]


def failures(path: str, key: str = "visual") -> list[Failure]:
    return [failure for failure in read_stac(path, [key]) if isinstance(failure, Failure)]

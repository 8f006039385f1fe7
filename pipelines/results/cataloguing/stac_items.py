"""Describe an output as a STAC collection: an item per scene, with its model and the rows of its windows.

The items are of STAC 1.1 with two extensions: `mlm` 1.4 says which model made the rows, `table` 1.2 which columns they
have.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipelines import storage
from pipelines.errors import quantity
from pipelines.inference import mlm
from pipelines.inference.bundle import LITERT_MODEL
from pipelines.output.footers import Footer
from pipelines.output.run import RUNS
from pipelines.output.schema import EMBEDDING, NOVELTY, PREDICTION_COLUMNS, SCENE_COLUMNS
from pipelines.records import OF_SEVERAL
from pipelines.results.cataloguing.scene_extents import SceneExtent
from pipelines.results.files import Head, NoOutputError
from pipelines.results.outputs import Output
from pipelines.scenes.rings import Points, split_at_antimeridian
from pipelines.scenes.virtual import ENDING

_VERSION = "1.1.0"
_EXTENSIONS = (mlm.EXTENSION, "https://stac-extensions.github.io/table/v1.2.0/schema.json")
_DIGITS = 7
"""Decimal places of a coordinate, in degrees: a centimetre."""
_LONGEST_NAME = 150
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_COLLECTION = "collection.json"

# With which the description of each collection begins.
_DESCRIPTION = "Tags of the windows of "
# IANA's relation of a document to what it was made of.
_SOURCE = "via"


class Document(NamedTuple):
    """A document to be written.

    Attributes:
      path: of the file.
      content: to be written as JSON.
    """

    path: str
    content: Mapping[str, Any]


def describe_output(
    output: Output, head: Head, extents: Sequence[SceneExtent], folder: str, taken: str
) -> Iterator[Document]:
    """Yield the items of an output, and last the collection that links to them.

    Args:
      output: the output.
      head: what its rows have in common.
      extents: of its scenes.
      folder: into which the documents go.
      taken: when scenes were taken that do not say it, in ISO 8601.
    """
    footer = head.footer
    bundle = _find_bundle(output, footer)
    model, columns = _describe_model(bundle, footer), list(_describe_columns(head))
    names = _name_items(extents)
    links, bounds, times = [], [], []
    for extent, (identity, name) in zip(extents, names, strict=True):
        path = storage.join(folder, name, f"{name}.json")
        time = extent.taken or taken
        place = _describe_place(extent)
        properties = {
            "datetime": time,
            **model,
            "bands": list(mlm.BANDS),
            "table:columns": columns,
            "table:primary_geometry": "geometry",
            "table:row_count": extent.rows.total(),
            "scenetags:scene": extent.path,
            "scenetags:tags": dict(sorted(extent.tags.items())),
        }
        item = {
            "type": "Feature",
            "stac_version": _VERSION,
            "stac_extensions": list(_EXTENSIONS),
            "id": identity,
            **place,
            "properties": properties,
            "collection": _name_collection(output),
            "links": [{"rel": rel, "href": f"../{_COLLECTION}"} for rel in ("root", "parent", "collection")],
            "assets": {**_assets_of(extent, path, footer), "model": _describe_bundle(bundle, path)},
        }
        yield Document(path, item)
        links.append({"rel": "item", "href": f"./{name}/{name}.json", "type": "application/geo+json"})
        bounds += [place["bbox"]] if "bbox" in place else []
        times.append(time)
    path = storage.join(folder, _COLLECTION)
    yield Document(path, _describe_collection(output, footer, path, links, bounds, times))


def is_earlier(collection: Mapping[str, Any], document: Any) -> bool:
    """Return whether a document, as JSON has it, is an earlier collection of the same output.

    Those of earlier versions do not say where the output is: of them, the name of its folder decides.
    """
    match document:
        case {"id": identity, "description": str(description), "links": [*links]}:
            sources = _sources(links)
            is_same = identity == collection["id"] and sources in ([], _sources(collection["links"]))
            return is_same and description.startswith(_DESCRIPTION)
        case _:
            return False


def _sources(links: Sequence[Any]) -> list[Any]:
    return [link.get("href") for link in links if isinstance(link, Mapping) and link.get("rel") == _SOURCE]


def _describe_collection(
    output: Output,
    footer: Footer,
    path: str,
    links: Sequence[Mapping[str, str]],
    bounds: Sequence[Sequence[float]],
    times: Sequence[str],
) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": _VERSION,
        "id": _name_collection(output),
        "description": f"{_DESCRIPTION}{quantity(len(links), 'scene')}, by scenetags {footer.version}".rstrip(),
        "license": "other",
        "keywords": list(footer.labels),
        "extent": {
            "spatial": {"bbox": [_around(bounds)]},
            "temporal": {"interval": [[min(times, key=_in_order), max(times, key=_in_order)]]},
        },
        "links": [
            {"rel": "root", "href": f"./{_COLLECTION}"},
            {"rel": _SOURCE, "href": _refer(output.path, path), "title": "the output that it describes"},
            *links,
        ],
    }


def _in_order(time: str) -> str:
    """Return what orders times in UTC, of which some have fractions of seconds: a dot comes before Z."""
    return time.removesuffix("Z")


def _around(bounds: Sequence[Sequence[float]]) -> list[float]:
    if not bounds or any(west > east for west, _, east, _ in bounds):
        return [-180, min((box[1] for box in bounds), default=-90), 180, max((box[3] for box in bounds), default=90)]
    west, south, east, north = zip(*bounds, strict=True)
    return [min(west), min(south), max(east), max(north)]


def _describe_model(bundle: Mapping[str, Any], footer: Footer) -> dict[str, Any]:
    name = mlm.name_model(str(bundle.get("name", "")), f"scenetags {footer.bundle[:12]}")
    window = mlm.Input("window", "a window of a scene in sRGB, 0 to 255", footer.grid.tile)
    settings = {
        "bundle": footer.bundle,
        "thresholds": dict(zip(footer.labels, footer.thresholds, strict=True)),
        "grid": footer.grid.described(),
        **({"rendering": footer.rendering.described()} if footer.rendering else {}),
        # Without them, the counts by tag would not follow from the thresholds.
        **({"rules": footer.rules.described()} if footer.rules else {}),
        **({"precision": footer.precision} if footer.precision != "float32" else {}),
    }
    return mlm.describe_model(name, window, {label: footer.columns[label] for label in footer.labels}, settings)


def _find_bundle(output: Output, footer: Footer) -> Mapping[str, Any]:
    """Return what the last run with the model of the rows says of its bundle.

    Raises:
      NoOutputError: none has its manifest in the output.
    """
    for manifest in reversed(output.manifests()):
        bundle = manifest.described.get("bundle")
        if isinstance(bundle, dict) and bundle.get("digest") == footer.bundle and isinstance(bundle.get("path"), str):
            return bundle
    raise NoOutputError(
        f"{output.path}: no manifest in {RUNS}/ names the bundle that made the rows",
        "run `scenetags predict` to its end",
    )


def _describe_bundle(bundle: Mapping[str, Any], item: str) -> dict[str, Any]:
    return mlm.describe_file(_refer(storage.join(bundle["path"], LITERT_MODEL), item))


def _describe_columns(head: Head) -> Iterator[dict[str, str]]:
    novelty = [NOVELTY] if head.has_novelty else []
    embedding = [EMBEDDING] if head.footer.embedding_size else []
    for column in (*PREDICTION_COLUMNS, *novelty, *embedding, *SCENE_COLUMNS):
        if column.per_label:
            for label, name in head.footer.columns.items():
                yield {"name": name, "type": column.type, "description": f"probability of {label}, 0 to 1"}
        else:
            yield {"name": column.name, "type": column.type, "description": column.documentation}
    for kept in head.footer.kept:
        yield {"name": kept.name, "type": kept.type, "description": "as in the list of images"}


def _assets_of(extent: SceneExtent, item: str, footer: Footer) -> dict[str, Any]:
    """Return the files with rows of a scene, and the scene itself if it is one file, and known by its whole path."""
    assets: dict[str, Any] = {}
    for number, (path, rows) in enumerate(sorted(extent.rows.items()), 1):
        assets[f"rows-{number}"] = {
            "href": _refer(path, item),
            "title": "rows of windows of this scene, and of others",
            "type": "application/vnd.apache.parquet",
            "roles": ["data"],
            "table:row_count": rows,
        }
    is_file = not extent.fingerprint.startswith(OF_SEVERAL) or extent.path.lower().endswith(ENDING)
    if is_file and not footer.relative:
        assets["scene"] = {"href": _refer(extent.path, item), "title": "the scene", "roles": ["source"]}
    return assets


def _describe_place(extent: SceneExtent) -> dict[str, Any]:
    """Return geometry and bounds of a scene; without bounds if nothing says where it lies."""
    ring: Points = [(longitude, latitude) for longitude, latitude in extent.hull.tolist()]
    if len(ring) < 3:
        return {"geometry": None}
    west, south, east, north = min(ring)[0], min(y for _, y in ring), max(ring)[0], max(y for _, y in ring)
    if east - west > 180:
        # Around a pole, as a rule: the hull of longitudes and latitudes is no outline there.
        ring = [(-180, south), (180, south), (180, north), (-180, north)]
    rings = split_at_antimeridian(ring)
    closed = [[[round(x, _DIGITS), round(y, _DIGITS)] for x, y in (*part, part[0])] for part in rings]
    if len(rings) == 1:
        west, east = min(x for x, _ in rings[0]), max(x for x, _ in rings[0])
        geometry: dict[str, Any] = {"type": "Polygon", "coordinates": closed}
    else:
        # By RFC 7946, bounds that cross the antimeridian have their west in the east.
        west, east = min(x for x, _ in rings[0]), max(x for x, _ in rings[1])
        geometry = {"type": "MultiPolygon", "coordinates": [[part] for part in closed]}
    return {"geometry": geometry, "bbox": [round(side, _DIGITS) for side in (west, south, east, north)]}


def _name_collection(output: Output) -> str:
    return posixpath.basename(output.path) or "scenetags"


def _name_items(extents: Sequence[SceneExtent]) -> Iterator[tuple[str, str]]:
    """Yield id and folder of each item: those of the scene's own item, or after its file; each once."""
    ids = [posixpath.splitext(posixpath.basename(one.name))[0] if one.name == one.path else one.name for one in extents]
    ids = [identity or "scene" for identity in ids]
    folders = [_UNSAFE.sub("_", identity).lstrip(".")[:_LONGEST_NAME] for identity in ids]
    # Also of names that differ in case alone, which are one on some file systems; and the collection is among them.
    of_id, of_folder = Counter(ids), Counter([_COLLECTION, *(folder.lower() for folder in folders)])
    for extent, identity, folder in zip(extents, ids, folders, strict=True):
        digest = hashlib.blake2b(extent.path.encode(), digest_size=4).hexdigest()
        is_unique = of_id[identity] == 1
        name = folder if folder and of_folder[folder.lower()] == 1 and is_unique else f"{folder}-{digest}"
        yield identity if is_unique else f"{identity}-{digest}", name


def _refer(path: str, item: str) -> str:
    """Return the address of a file as the document of an item names it: relative, if both are in one place."""
    if storage.bucket_of(path) != storage.bucket_of(item):
        return path
    return posixpath.relpath(path.partition("://")[2] or path, posixpath.dirname(item.partition("://")[2] or item))

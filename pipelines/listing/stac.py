"""Read what documents of STAC name: items, item collections and catalogues, on this machine or in a bucket."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from pipelines import storage
from pipelines.credentials import url_without_secrets
from pipelines.errors import ScenetagsError
from pipelines.listing.lookup import InputError
from pipelines.listing.references import PERHAPS_MISSING, Reference, has_root, refer_either, understand
from pipelines.listing.stac_items import Asset, read_item
from pipelines.listing.stacks import refer_stack
from pipelines.listing.threads import UnawaitedPool
from pipelines.records import Failure, ImageRef, Listed, not_listed
from pipelines.supervision import interruption

STAC_ENDINGS = (".json", ".geojson")
"""Lowercase name endings of inputs that are STAC documents, if an asset is named."""

_MOST_BYTES = 100_000_000
_MOST_BYTES_AHEAD = 32_000_000
"""Of a document that another one links to: as many as are read ahead are held at a time."""

_READ_AHEAD = 16
_MATCHED_AT_ONCE = 1000
_LOOK_UPS = 32
_DEEPEST = 32


def list_assets(path: str, keys: Sequence[str]) -> Iterator[Listed]:
    """List the scenes that a STAC document names; see `read_stac`."""
    return _look_up_ahead(read_stac(path, keys))


def list_matching(matched: Iterator[Listed], keys: Sequence[str]) -> Iterator[Listed]:
    """List the scenes that STAC documents name which a pattern matches; see `read_stac`.

    One that cannot be read, or is none of STAC's, is a failure.
    """
    return _look_up_ahead(_read_matching(matched, keys))


def _look_up_ahead(assets: Iterator[Asset | Failure]) -> Iterator[Listed]:
    with UnawaitedPool(_LOOK_UPS, "assets") as pool:
        ahead: deque[Failure | Future[Listed]] = deque()
        for asset in assets:
            ahead.append(asset if isinstance(asset, Failure) else pool.submit(_look_up, asset))
            if len(ahead) > _LOOK_UPS:
                yield _result(ahead.popleft())
        yield from map(_result, ahead)


def _look_up(asset: Asset) -> Listed:
    if len(asset.files) > 1:
        return refer_stack([_existing(file) for file in asset.files], asset.item)
    listed = refer_either(asset.files[0])
    return listed._replace(item=asset.item) if isinstance(listed, ImageRef) else listed


def _existing(file: Reference) -> str:
    if not file.decoded:
        return file.path
    listed = refer_either(file)
    return listed.path if isinstance(listed, ImageRef) else file.path


def _result(listed: Failure | Future[Listed]) -> Listed:
    interruption.check()
    return listed if isinstance(listed, Failure) else listed.result()


class _Document(NamedTuple):
    """A document that is named, and how many catalogues lie above it.

    Attributes:
      path: of it.
      depth: number of catalogues.
      decoded: as of a `Reference`.
    """

    path: str
    depth: int
    decoded: str = ""

    def read(self) -> tuple[_Document, bytes]:
        """Read it, under the name that there is; raises as `storage.read` does."""
        try:
            return self, storage.read(self.path, _MOST_BYTES_AHEAD)
        except PERHAPS_MISSING:
            if not self.decoded:
                raise
            with suppress(*PERHAPS_MISSING):
                return _Document(self.decoded, self.depth), storage.read(self.decoded, _MOST_BYTES_AHEAD)
            raise


def read_stac(path: str, keys: Sequence[str]) -> Iterator[Asset | Failure]:
    """Yield the assets that each item has under some keys, in a stable order; documents are read a few ahead.

    Relative names start at the document that holds them; those of items in an item collection at the item's own
    address (its link `self`), if it has one. Each document is read once, however often and in what circles it is named.
    A document in a bucket is a stranger's: it cannot name files of this machine.

    Args:
      path: of an item, an item collection, a catalogue or a collection.
      keys: of the asset, or of those that are red, green and blue.

    Yields:
      An `Asset` for each item. A `Failure` for one without one of these assets; and for a document that cannot be
      read, behind which items may be hidden.

    Raises:
      InputError: the first document cannot be read, or is none of STAC's.
      InterruptedRunError: the run was asked to stop.
    """
    path = storage.normalize(path)
    try:
        first = _parse(storage.read(path, _MOST_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {_reason(error)}", "give a STAC item, item collection or catalogue") from error
    waiting: deque[_Document] = deque()
    yield from _read_document(first, _Document(path, 0), keys, waiting)
    yield from _read_waiting(waiting, {storage.digest_path(path)}, keys)


def _read_matching(matched: Iterator[Listed], keys: Sequence[str]) -> Iterator[Asset | Failure]:
    seen = set[bytes]()
    while some := list(islice(matched, _MATCHED_AT_ONCE)):
        yield from (item for item in some if isinstance(item, Failure))
        waiting = deque(_Document(item.path, 0) for item in some if isinstance(item, ImageRef))
        yield from _read_waiting(waiting, seen, keys)


def _read_waiting(waiting: deque[_Document], seen: set[bytes], keys: Sequence[str]) -> Iterator[Asset | Failure]:
    """Read documents a few ahead, and those that they name.

    Args:
      waiting: documents; emptied.
      seen: digests of the paths of those that have been read; receives these.
      keys: as of `read_stac`.
    """
    if not waiting:
        return
    with UnawaitedPool(_READ_AHEAD, "stac") as pool:
        ahead: deque[tuple[_Document, Future[tuple[_Document, bytes]]]] = deque()
        while ahead or waiting:
            interruption.check()
            while waiting and len(ahead) < _READ_AHEAD:
                document = waiting.popleft()
                if (digest := storage.digest_path(document.path)) not in seen:
                    seen.add(digest)
                    ahead.append((document, pool.submit(document.read)))
            if ahead:
                document, reading = ahead.popleft()
                try:
                    document, data = reading.result()
                    parsed = _parse(data)
                except (OSError, ValueError, ScenetagsError) as error:
                    yield _hidden(document.path, _reason(error))
                else:
                    yield from _read_document(parsed, document, keys, waiting)


def _parse(data: bytes) -> dict[str, Any]:
    """Return a document of STAC.

    Raises:
      ValueError: it is none.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(document, dict) or str(document.get("type")) not in _READERS:
        raise ValueError("not a STAC document: its type is not Feature, FeatureCollection, Catalog or Collection")
    return document


def _read_document(
    parsed: dict[str, Any], document: _Document, keys: Sequence[str], waiting: deque[_Document]
) -> Iterator[Asset | Failure]:
    yield from _READERS[parsed["type"]](parsed, document, keys, waiting)


def _read_item(
    parsed: dict[str, Any], document: _Document, keys: Sequence[str], waiting: deque[_Document]
) -> Iterator[Asset | Failure]:
    yield read_item(parsed, keys, document.path, document.path)


def _read_items(
    parsed: dict[str, Any], document: _Document, keys: Sequence[str], waiting: deque[_Document]
) -> Iterator[Asset | Failure]:
    features = parsed.get("features")
    if not isinstance(features, list):
        yield _hidden(document.path, "an item collection without a list of items")
        return
    for number, feature in enumerate(features):
        item = feature if isinstance(feature, dict) else {}
        base = _own_address(item)
        # Each has a name of its own: whatever cannot be listed becomes a row.
        yield read_item(item, keys, base if has_root(base) else document.path, f"{document.path}#{number}")
    yield from _follow(parsed, document, ("next",), waiting)


def _read_catalogue(
    parsed: dict[str, Any], document: _Document, keys: Sequence[str], waiting: deque[_Document]
) -> Iterator[Asset | Failure]:
    yield from _follow(parsed, document, ("child", "item", "items"), waiting)


_READERS = {
    "Feature": _read_item,
    "FeatureCollection": _read_items,
    "Catalog": _read_catalogue,
    "Collection": _read_catalogue,
}


def _follow(
    parsed: dict[str, Any], document: _Document, relations: tuple[str, ...], waiting: deque[_Document]
) -> Iterator[Failure]:
    """Put what a document links to in front of what waits, in its order; yield what cannot be read."""
    following = []
    links = parsed.get("links")
    if not isinstance(links, list):
        # An item collection needs none.
        if links is not None or parsed["type"] != "FeatureCollection":
            yield _hidden(document.path, "its links are not a list")
        return
    for number, link in enumerate(links):
        relation, href = (link.get("rel"), link.get("href")) if isinstance(link, dict) else (None, None)
        if isinstance(relation, str) and relation not in relations:
            continue
        if not isinstance(relation, str) or not isinstance(href, str) or not href:
            yield _hidden(f"{document.path}#link {number}", "a link without a relation or without an address")
            continue
        try:
            named = understand(href, document.path)
        except ScenetagsError as error:
            yield _hidden(f"{document.path}#{url_without_secrets(href)}", error.message)
            continue
        if document.depth >= _DEEPEST:
            yield _hidden(named.path, f"lies below {_DEEPEST} others")
            continue
        # Each page of an item collection links to the next one: they are as many as they are, and none is deeper.
        following.append(_Document(named.path, document.depth + (relations != ("next",)), named.decoded))
    waiting.extendleft(reversed(following))


def _own_address(item: dict[str, Any]) -> str:
    """Return the address of an item, its link `self`; empty if it has none."""
    links = item.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "self" and isinstance(link.get("href"), str):
            return str(link["href"])
    return ""


def _hidden(path: str, reason: str) -> Failure:
    """Describe a document that cannot be read: it may hide items, so the listing is incomplete."""
    return not_listed(path, storage.UnlistedFolderError(reason))


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

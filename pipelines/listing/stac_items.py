"""Read what an item of STAC says of a scene: its files, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipelines.errors import ScenetagsError
from pipelines.listing.offsets import read_stated_offset
from pipelines.listing.references import Reference, understand
from pipelines.records import Failure, Item, not_listed

_LONGEST_ID = 1000
_SHOWN_KEYS = 10


class Asset(NamedTuple):
    """Files of one scene that an item names.

    Attributes:
      item: what it says of the scene.
      files: not looked up: one, or one for each of red, green and blue.
    """

    item: Item
    files: tuple[Reference, ...]


def read_item(item: dict[str, Any], keys: Sequence[str], base: str, name: str) -> Asset | Failure:
    """Return the assets of an item; a failure if it lacks one.

    Args:
      item: as it was parsed.
      keys: of the assets.
      base: path at which relative names start.
      name: of the item if it is a failure.
    """
    identity, assets = item.get("id"), item.get("assets")
    if item.get("type") != "Feature" or not isinstance(identity, str) or not isinstance(assets, dict):
        return not_listed(name, ValueError("not a STAC item with an id and assets"))
    if not 0 < len(identity) <= _LONGEST_ID or not _is_text(identity):
        return not_listed(
            name, ValueError(f"its id is empty, longer than {_LONGEST_ID:,} characters, or not valid Unicode")
        )
    try:
        files = tuple(_find(assets, key, base) for key in keys)
        return Asset(Item(identity, _taken(item), read_stated_offset(item, keys)), files)
    except ValueError as error:
        return not_listed(name, ValueError(f"item {identity} {error}"))


def _find(assets: dict[str, Any], key: str, base: str) -> Reference:
    """Return what the address of an asset names.

    Raises:
      ValueError: it is missing, or nowhere where it could be read.
    """
    if not isinstance(assets.get(key), dict):
        shown = [name[:_LONGEST_ID] for name in sorted(assets)[:_SHOWN_KEYS]]
        others = ", ".join(shown) + ", ..." * (len(assets) > _SHOWN_KEYS)
        raise ValueError(f"has no asset {key}; its assets are: {others or 'none'}")
    reason = "has no address"
    for href in _addresses(assets[key]):
        try:
            return understand(href, base)
        except ScenetagsError as error:
            reason = f"cannot be read: {error.message}"
    raise ValueError(f"has an asset {key} that {reason}")


def _is_text(text: str) -> bool:
    """Return whether a text can be written; JSON can spell halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _addresses(asset: dict[str, Any]) -> Iterator[str]:
    """Yield the address of an asset, and those of the extension `alternate`, which may name buckets."""
    alternates = asset.get("alternate")
    others = list(alternates.values()) if isinstance(alternates, dict) else []
    for place in (asset, *others):
        href = place.get("href") if isinstance(place, dict) else None
        if isinstance(href, str) and href:
            yield href


def _taken(item: dict[str, Any]) -> str:
    """Return when an item was taken; of a range, when it begins. Empty if the item does not say it."""
    properties = item.get("properties")
    times = properties if isinstance(properties, dict) else {}
    text = times.get("datetime") or times.get("start_datetime")
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
        # By RFC 3339 a time has its zone.
        return instant.astimezone(UTC).isoformat().replace("+00:00", "Z") if instant and instant.tzinfo else ""
    except (ValueError, OverflowError):
        return ""

"""Hold and compare millions of names in little memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from pipelines.records import Failure, File, ImageRef, Item, Listed, Span, Stack, Window, digest_path

_ITEMS_PER_PACK = 1024


class SeenPaths:
    """Paths that have been seen, as digests."""

    def __init__(self) -> None:
        """Begin with none."""
        self._digests: set[bytes] = set()

    def add(self, path: str) -> bool:
        """Add a path, and return whether it is new."""
        digest = digest_path(path)
        new = digest not in self._digests
        self._digests.add(digest)
        return new


class PackedNames:
    """A listing, packed into a tenth of the memory that its objects take."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        """Pack all items."""
        self._count = 0
        self._packs: list[bytes] = []
        items = iter(listed)
        while taken := list(islice(items, _ITEMS_PER_PACK)):
            self._count += len(taken)
            rows = json.dumps([(isinstance(item, Failure), *item) for item in taken])
            self._packs.append(zlib.compress(rows.encode(), level=1))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Listed]:
        for pack in self._packs:
            for failed, *fields, kept, replaces in json.loads(zlib.decompress(pack)):
                item = Failure(*fields) if failed else _unpack(*fields)
                yield item._replace(kept=tuple(kept), replaces=replaces)


def _unpack(
    path: str,
    size: int,
    fingerprint: str,
    span: Sequence[Any] | None,
    window: Sequence[Any] | None,
    item: Sequence[Any] | None,
    stack: Sequence[Any] | None,
) -> ImageRef:
    places = Span(*span) if span else None, Window(*window) if window else None
    return ImageRef(path, size, fingerprint, *places, Item(*item) if item else None, _unpack_stack(stack))


def _unpack_stack(fields: Sequence[Any] | None) -> Stack | None:
    if not fields:
        return None
    bands, document = fields
    return Stack(tuple(File(*band) for band in bands), File(*document) if document else None)

"""What addresses in untrusted documents mean."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import unquote

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.listing.lookup import InputError, refer
from pipelines.records import Failure, Listed

_BUCKETS_ON_THE_WEB = (
    (re.compile(r"https://([a-z0-9][a-z0-9.-]+)\.s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com/([^?#]+)"), "s3"),
    (re.compile(r"https://s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com/([a-z0-9][a-z0-9.-]+)/([^?#]+)"), "s3"),
    (re.compile(r"https://storage\.googleapis\.com/([a-z0-9][a-z0-9._-]+)/([^?#]+)"), "gs"),
)
"""Addresses that the providers themselves give to objects; with a query, they may be signed."""


PERHAPS_MISSING = (FileNotFoundError, PermissionError)
_PERHAPS_MISSING = frozenset(kind.__name__ for kind in PERHAPS_MISSING)


class Reference(NamedTuple):
    """What an address in a document names.

    Attributes:
      path: with the name as it is written.
      decoded: as a URL, in which `%20` is a space; empty if that is the same.
    """

    path: str
    decoded: str = ""


def refer_either(reference: Reference) -> Listed:
    """Look up a file as its name is written, or if there is none, decoded as a URL.

    STAC wants URLs, and many a catalogue has plain names, in which a `%` is nothing but that. Whoever may not list a
    bucket of Amazon is refused what does not exist.
    """
    listed = refer(reference.path)
    if not reference.decoded or not isinstance(listed, Failure) or listed.error not in _PERHAPS_MISSING:
        return listed
    decoded = refer(reference.decoded)
    return listed if isinstance(decoded, Failure) else decoded


def understand(href: str, base: str) -> Reference:
    """Return what an address in a document of STAC may mean; arguments and errors are those of `resolve`."""
    path, url = resolve(href, base), unquote(href)
    if url == href or href.lower().startswith(("file:", "https:")):
        return Reference(path)
    try:
        return Reference(path, resolve(url, base))
    except ScenetagsError:
        return Reference(path)


def has_root(href: str) -> bool:
    """Return whether an address means the same wherever it stands."""
    return storage.is_remote(href) or href.startswith(("/", "file:"))


def resolve(href: str, base: str) -> str:
    """Return the path that an address in a document means.

    A document in a bucket is a stranger's: it cannot name files of this machine. An object in a bucket may be named by
    its address on the web, as catalogues do.

    Args:
      href: the address.
      base: path of the document.

    Raises:
      ScenetagsError: its kind of storage is not supported, or it names what this document may not.
    """
    for address, scheme in _BUCKETS_ON_THE_WEB:
        if match := address.fullmatch(href):
            return storage.normalize(f"{scheme}://{match[1]}/{unquote(match[2])}")
    if has_root(href):
        if storage.is_remote(base) and not storage.is_remote(href):
            raise InputError(f"{href}: a document in a bucket cannot name files of this machine")
        return storage.normalize(href)
    if not storage.is_remote(base):
        return storage.normalize(os.path.join(os.path.dirname(storage.plain(base)), href))
    base = storage.normalize(base)
    bucket = storage.bucket_of(base)
    # Names of objects are no paths: `a//b` is another one than `a/b`.
    names = base.removeprefix(bucket).split("/")[:-1]
    for name in href.split("/"):
        if name != "..":
            names += [name] * (name != ".")
        elif len(names) > 1:
            names.pop()
        else:
            raise InputError(f"{href}: leads out of the bucket")
    return storage.normalize(f"{bucket}{'/'.join(names)}")

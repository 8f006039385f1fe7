"""Spell paths so that every file has one spelling, and no two files share it."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from pipelines.credentials import url_without_secrets
from pipelines.storage.errors import UnsupportedStorageError

BUCKETS = ("gs://", "s3://")
"""Storage that can hold an output."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Of an access point, which stands for a bucket; its name may follow a slash, which would make it part of a key.
_ACCESS_POINT = re.compile(r"s3://(arn:[^/]*?:)(outpost[/:][^/:]+[/:])?accesspoint[/:]([^/:]+)(?=/|$)")
_SAME_SCHEMES = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}
"""What Hadoop and fsspec call buckets, in the lists that they write."""
_FILE = re.compile(r"file:(?://|(?=/))", re.IGNORECASE)
_MARKED = re.compile(rf"({_SCHEME.pattern})(?:\.?/)+", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Return whether a path is not on this machine."""
    return _SCHEME.match(path) is not None and _FILE.match(path) is None


def plain(path: str) -> str:
    """Write a path without `file://`, and with its scheme in the usual spelling; any other path stays as it is.

    A `file://` URL is decoded as a whole: in it, `%20` is a space.

    Raises:
      UnsupportedStorageError: the URL of a file names another machine.
    """
    if (url := _FILE.match(path)) is not None:
        machine, slash, place = path[url.end() :].partition("/")
        if not slash or machine.lower() not in ("", "localhost"):
            raise UnsupportedStorageError(f"{path} names a file of another machine", "write file:///PATH, or the path")
        return os.fsdecode(b"/" + unquote_to_bytes(place.encode("utf-8", "surrogateescape")))
    if (root := _SCHEME.match(path)) is None:
        return path
    scheme = path[: root.end() - 3].lower()
    return f"{_SAME_SCHEMES.get(scheme, scheme)}{path[root.end() - 3 :]}"


def bucket_of(path: str) -> str:
    """Return the path of the bucket that a path is in; empty if it is on this machine."""
    return "/".join(unmarked(path).split("/", 3)[:3]) if is_remote(path) else ""


def can_be_written(path: str) -> bool:
    """Return whether an output can be written to a path."""
    return not is_remote(path) or path.startswith(BUCKETS)


def lists_ranges(path: str) -> bool:
    """Return whether a range of a bucket can be listed without what comes before it."""
    # Amazon's directory buckets list in no order.
    return path.startswith(BUCKETS) and not bucket_of(path).rstrip("/").endswith("--x-s3")


def normalize(path: str) -> str:
    """Normalize a path, so that every file and folder has exactly one spelling.

    Raises:
      UnsupportedStorageError: the path is in an unsupported kind of storage, or names a bucket that cannot exist.
    """
    path = plain(path)
    if is_remote(path):
        scheme = path.partition("://")[0]
        if not _is_reached(scheme):
            raise UnsupportedStorageError(
                f"{url_without_secrets(path)}: {scheme}:// is not supported",
                f"use a local path, {' or '.join(BUCKETS)}, or install Beam's file system for it",
            )
        place = unmarked(path)
        bucket = place.removeprefix(f"{scheme}://").partition("/")[0]
        if not bucket:
            raise UnsupportedStorageError(f"{path} names no bucket", f"write {scheme}://BUCKET/PATH")
        colon = ":" if place.startswith(BUCKETS) and not _ACCESS_POINT.match(place) else ":.*@"
        if re.search(colon, bucket):
            raise UnsupportedStorageError(
                f"{url_without_secrets(path)}: no bucket has a colon in its name",
                "give credentials as the provider's own tools take them, not in a path",
            )
        return place.rstrip("/")
    return _absolute(os.path.expanduser(path))


def marked(path: str, marks: int) -> str:
    """Put marks after the root of a path: it still names the same file, in a spelling that no other path has."""
    root = _SCHEME.match(path)
    place = root.end() if root else 1
    return f"{path[:place]}{'./' * marks}{path[place:]}"


def unmarked(path: str) -> str:
    """Remove marks, and empty names, between the scheme and the bucket; after the bucket every character counts.

    An access point gets the spelling without slashes, `s3://arn:aws:s3:REGION:ACCOUNT:accesspoint:NAME/KEY`.
    """
    path = _MARKED.sub(r"\1", path, count=1) if _MARKED.match(path) else path
    if path.startswith("s3://arn:") and (point := _ACCESS_POINT.match(path)):
        arn, outpost, name = point.groups("")
        return f"s3://{arn}{outpost.replace('/', ':')}accesspoint:{name}{path[point.end() :]}"
    return path


def escaped(path: str) -> str:
    r"""Return how a path is written to a row: unchanged if it is UTF-8.

    Any other path is written with escapes after an empty name, as in `//folder/\udcff.jpg` and `gs:///bucket/...`: no
    path that is UTF-8 has one there, so none is taken for it. Backslashes are doubled in it.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        root = path.find("://") + 3 if "://" in path and not path.startswith("/") else 0
        rest = path[root:].replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
        return f"{path[:root]}/{rest}"
    return path


def digest_path(path: str) -> bytes:
    """Return 16 bytes that stand for a path: the probability that any two of a billion paths share them is 1e-21."""
    return hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _absolute(path: str) -> str:
    """Make a path on this machine absolute.

    A `..` behind a link leads to the folder above the link's target, and not above the link.
    """
    try:
        spelled = os.path.abspath(path)
    except FileNotFoundError as error:
        raise UnsupportedStorageError(
            f"{path} is relative to the working folder, which has been deleted", "cd to a folder, or give a full path"
        ) from error
    if spelled.startswith("//"):
        # Python leaves it, and the system takes it for one slash.
        spelled = spelled[1:]
    if ".." not in path or ".." not in path.split("/"):
        return spelled
    folder, _, name = f"{os.path.join(os.getcwd(), path)}/".rpartition("/../")
    led_to = _where_links_lead(folder)
    return os.path.normpath(os.path.join(led_to, name)) if led_to else spelled


@lru_cache
def _is_reached(scheme: str) -> bool:
    if f"{scheme}://" in BUCKETS:
        return True
    # The import takes a second; only runs with such paths pay for it.
    from pipelines.storage.beam_files import has_file_system

    return has_file_system(scheme)


@lru_cache
def _where_links_lead(folder: str) -> str | None:
    """Return the folder above `folder`, if its links lead elsewhere than its spelling says."""
    above = os.path.realpath(f"{folder}/..")
    return above if above != os.path.realpath(os.path.abspath(f"{folder}/..")) else None

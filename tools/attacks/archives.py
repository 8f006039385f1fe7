"""Attacks on what is listed of archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from pipelines.listing import list_images
from pipelines.output.run import Accounts
from pipelines.records import Failure
from tools.attacks import Attack, Seen

_BLOCK, _TARS, _ZIPS = 512, 10_000, 3_000
_SHORTEST = 64
"""Bytes harmed in a zip: more than a directory's entry takes, so that not just its name is zeroed."""
_FORMATS = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": lambda data: gzip.compress(data, 1),
    ".tar.bz2": bz2.compress,
    ".tar.xz": lambda data: lzma.compress(data, preset=0),
}


def harm_tars(folder: Path) -> Seen:
    """Zero, drop or double blocks of tars, and look for images lost without a word."""
    rng, outcomes = Random(17), Counter[str]()
    for number in range(_TARS):
        names, whole = _tar(rng)
        ending = rng.choice((".tar", ".tar", ".tar", *_COMPRESS))
        path = folder / f"x{ending}"
        path.write_bytes(_COMPRESS[ending](_harmed(whole, rng)))
        rows = list(list_images([str(path)]))
        lost = {f"{path}::{name}" for name in names} - {row.path for row in rows}
        errors = Counter(f"list: {row.error}" for row in rows if isinstance(row, Failure))
        if lost and Accounts(errors=errors).listing_is_complete:
            return Seen(held=False, what=f"tar {number}: {len(lost)} of {len(names)} images lost in silence")
        outcomes["every image a row" if not lost else "images lost, and exit code 3"] += 1
    return Seen(held=True, what=", ".join(f"{outcomes[outcome]:,} tars: {outcome}" for outcome in sorted(outcomes)))


def harm_zips(folder: Path) -> Seen:
    """Cut zips, or zero or drop bytes of them, and look for images lost without a word, or taken from a zip within."""
    rng, outcomes = Random(17), Counter[str]()
    for number in range(_ZIPS):
        names, places, last, whole = _zips(rng)
        path = folder / "x.zip"
        path.write_bytes(_harmed_zip(whole, places, last, rng))
        # Besides an image, so that a zip of which nothing is listed is no error of the command line.
        (folder / "y.jpg").touch()
        rows = list(list_images([f"{folder}/*"]))
        found = {row.path.removeprefix(f"{path}::") for row in rows if row.path.startswith(f"{path}::")}
        errors = Counter(f"list: {row.error}" for row in rows if isinstance(row, Failure))
        if found - names:
            return Seen(held=False, what=f"zip {number}: {len(found - names)} images of a zip within")
        if found != names and Accounts(errors=errors).listing_is_complete:
            return Seen(held=False, what=f"zip {number}: {len(names - found)} of {len(names)} images lost in silence")
        outcomes["every image a row" if found == names else "images lost, and exit code 3"] += 1
    return Seen(held=True, what=", ".join(f"{outcomes[outcome]:,} zips: {outcome}" for outcome in sorted(outcomes)))


def join_many(folder: Path) -> Seen:
    """Join many compressed tars: time must grow with their number, not with its square."""
    seconds, listed = [], []
    for number in (2_000, 8_000):
        path = folder / f"{number}.tar.gz"
        path.write_bytes(gzip.compress(b"".join(_one(f"{index}.jpg") for index in range(number)), 1))
        begin = time.monotonic()
        listed.append(len(list(list_images([str(path)]))))
        seconds.append(time.monotonic() - begin)
    ratio = seconds[1] / seconds[0]
    what = f"{seconds[0]:.2f} s and {seconds[1]:.2f} s, {listed[1]:,} rows"
    return Seen(held=ratio < 10 and listed == [2_001, 8_001], what=what)


def unpack_bombs(folder: Path) -> Seen:
    """List archives of a few kilobytes that unpack to 18 GB of zeros."""
    seen, held = [], True
    for ending, compress in ((".tar.gz", gzip.compress), (".tar.bz2", bz2.compress), (".tar.xz", lzma.compress)):
        path = folder / f"bomb{ending}"
        member = tarfile.TarInfo("notes.txt")
        member.size = 18 * 10**9
        stream = compress(member.tobuf())
        # The same zeros again and again, as a stream of their own.
        zeros = compress(bytes(200_000_000))
        with path.open("wb") as file:
            file.write(stream)
            for _ in range(90):
                file.write(zeros)
        begin = time.monotonic()
        rows = list(list_images([str(path)]))
        seconds = time.monotonic() - begin
        errors = {row.error for row in rows if isinstance(row, Failure)}
        held = held and seconds < 60 and "ArchiveBombError" in errors
        seen.append(f"{path.stat().st_size / 1000:,.0f} kB{ending} {seconds:.1f} s {' '.join(sorted(errors))}")
    return Seen(held, "; ".join(seen))


def _tar(rng: Random) -> tuple[list[str], bytes]:
    """Write a tar of 3 to 20 images, some with long names; no content is all zeros."""
    file, form = io.BytesIO(), rng.choice(_FORMATS)
    longest = 1 if form == tarfile.USTAR_FORMAT else 40
    names = [f"{'folder/' * rng.choice((1, 1, longest))}{number}.jpg" for number in range(rng.randrange(3, 20))]
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            content = rng.randbytes(rng.choice((1, 300, 512, 700, 2_000, 5_000)))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return names, file.getvalue()


def _zips(rng: Random) -> tuple[set[str], list[int], int, bytes]:
    """Write one to three zips one behind another, perhaps behind a program.

    Returns:
      The names of their images; the bytes at which their members end, and the last zip begins; and the zips.
    """
    file, names, places, last = io.BytesIO(), set[str](), list[int](), 0
    file.write(rng.choice((b"", b"", b"MZ" + rng.randbytes(3_000))))
    for part in range(rng.choice((1, 1, 2, 3))):
        zipped, last = io.BytesIO(), file.tell()
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.comment = rng.choice((b"", b"", b"a comment"))
            for number in range(rng.randrange(1, 9)):
                if rng.random() < 0.6:
                    name, content = f"{part}-{number}.jpg", rng.randbytes(rng.choice((1, 300, 5_000)))
                    names.add(name)
                else:
                    name, content = f"{part}-{number}.zip", _zip_within(rng)
                archive.writestr(name, content, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
                places.append(file.tell() + zipped.tell())
        file.write(zipped.getvalue())
    return names, places, last, file.getvalue()


def _zip_within(rng: Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(rng.randrange(3)):
            archive.writestr(f"within{number}.jpg", rng.randbytes(300))
    return file.getvalue()


def _harmed_zip(whole: bytes, places: list[int], last: int, rng: Random) -> bytes:
    """Cut a zip, often behind a member, or harm a place in it."""
    begin = rng.choice((rng.choice(places), rng.randrange(len(whole))))
    end = min(len(whole), begin + _SHORTEST + rng.choice((0, rng.randrange(5_000))))
    if rng.random() < 0.5:
        end = len(whole)
    if end == len(whole):
        # Of a zip that is missing whole, nothing can be known.
        begin = max(begin, last + 1)
    return whole[:begin] + rng.choice((b"", bytes(end - begin), rng.randbytes(100))) + whole[end:]


def _one(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 700
        archive.addfile(member, io.BytesIO(bytes(range(7)) * 100))
    return file.getvalue()


def _harmed(whole: bytes, rng: Random) -> bytes:
    """Harm one to three places, in ways that can be told from a tar that never had the member."""
    if rng.random() < 0.3:
        # One block only: several may be a whole member.
        at = _BLOCK * rng.randrange(_blocks(whole))
        return whole[:at] + whole[at + _BLOCK :]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = _BLOCK * rng.randrange(_blocks(whole))
        after = at + _BLOCK * rng.choice((1, 1, 1, 2, 8))
        if rng.random() < 0.5:
            whole = whole[:after] + whole[at:]
        elif after < _BLOCK * _blocks(whole):
            # Zeros up to the end are the end.
            whole = whole[:at] + bytes(after - at) + whole[after:]
    return whole


def _blocks(tar: bytes) -> int:
    """Count the blocks of a tar up to its end."""
    return -(-len(tar.rstrip(b"\0")) // _BLOCK)


ATTACKS = (
    Attack(
        "harmed_tars",
        f"{_TARS:,} tars with zeroed, dropped or doubled blocks",
        "every image is a row, or the listing is incomplete (exit code 3)",
        harm_tars,
    ),
    Attack(
        "harmed_zips",
        f"{_ZIPS:,} zips, some with zips as members, cut or with zeroed or dropped bytes",
        "every image is a row, or the listing is incomplete (exit code 3); no row for an image of a zip within",
        harm_zips,
    ),
    Attack("joined_tars", "thousands of tars in one .tar.gz", "time grows with their number", join_many),
    Attack("tar_bombs", "18 GB of zeros in a compressed tar", "a failure within a minute", unpack_bombs),
)

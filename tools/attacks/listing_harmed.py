"""Lists of every kind with harmed bytes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.listing import InputError, list_images
from tools.attacks import Attack, Seen

_LISTS = 3_000
_SIGNS = (b'"', b"\n", b"\r", b",", b"\t", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"{", b"\\ud800")
_INSERTED = (*_SIGNS, b"file://x/", b"x.tar::")


def harm_lists(folder: Path) -> Seen:
    """Flip, cut, insert and repeat bytes in lists of every kind, packed and not."""
    chance, names = random.Random(12), ["a.jpg", "ä b.jpg", '"c".jpg'] * 20
    for name in names:
        (folder / name).touch()
    refused = rows = 0
    lists = _lists_of_every_kind(names)
    for _ in range(_LISTS):
        ending, data = chance.choice(lists)
        path = folder / f"harmed.{ending}"
        path.write_bytes(_harm(bytearray(data), chance))
        try:
            rows += sum(1 for item in list_images([], str(path)) if item.path.encode())
        except InputError as error:
            if "\n" in str(error):
                return Seen(False, f"{path.name}: {error!r}")
            refused += 1
        except Exception as error:
            return Seen(False, f"{path.name}: {error!r}")
    seen = f"{refused:,} of {_LISTS:,} refused in a line; {rows:,} rows of the others"
    return Seen(rows > 0 and refused > 0, seen)


def _lists_of_every_kind(names: list[str]) -> list[tuple[str, bytes]]:
    cells = io.StringIO()
    csv.writer(cells).writerows([["n", "path"], *(["1", name] for name in names)])
    texts = {
        "txt": "\n".join(names).encode(),
        "csv": cells.getvalue().encode(),
        "tsv": cells.getvalue().replace(",", "\t").encode("utf-16"),
        "jsonl": "\n".join(json.dumps({"path": name}) for name in names).encode(),
    }
    table = io.BytesIO()
    pq.write_table(pa.table({"path": [*names, None]}), table)
    return [
        ("parquet", table.getvalue()),
        *texts.items(),
        *((f"{ending}.gz", gzip.compress(text)) for ending, text in texts.items()),
        *((f"{ending}.zst", pa.compress(text, "zstd", asbytes=True)) for ending, text in texts.items()),
    ]


def _harm(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.choice([1, 20, 10_000])]
            case 2:
                data[at:at] = chance.choice(_INSERTED)
            case 3:
                data += data[at : at + 50]
    return data


ATTACKS = (
    Attack(
        "harmed_lists",
        f"{_LISTS:,} lists of every kind with bytes flipped, cut, inserted and repeated",
        "rows, or a refusal in one line",
        harm_lists,
    ),
)

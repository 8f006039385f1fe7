"""Attacks on runs into an output whose files were damaged, replaced or exchanged."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.material import small_bundle
from pipelines import predict
from pipelines.output.footers import FOOTER
from pipelines.output.journal import JOURNAL
from tools import output_checks
from tools.attacks import Attack, Seen
from tools.output_checks import BrokenGuaranteeError

_TRIALS, _SEED, _IMAGES = 150, 1, 4
_STAGING = "_staging-20260101T000000.000000Z-beef"

Damage = Callable[[Path, Random], None]


def damage_outputs(folder: Path) -> Seen:
    """Damage a file of an output again and again, and run into it: it must be refused in one line or be complete."""
    random = Random(_SEED)
    images, before = folder / "images", folder / "before"
    _draw(images, random)
    _run(images, before)
    expected = {table: rows["path"].to_pylist() for table, rows in output_checks.read_rows(before).items()}
    _leave_commit(before)
    ends: Counter[str] = Counter()
    broken = []
    for number in range(_TRIALS):
        output = folder / str(number)
        shutil.copytree(before, output)
        file = random.choice(sorted(path for path in output.rglob("*") if path.is_file()))
        name, damage = random.choice(_DAMAGES)
        flags = random.choice(([], ["--overwrite"]))
        damage(file, random)
        end = _end(images, output, flags, expected)
        ends[end.partition(":")[0]] += 1
        if end not in ("complete", "one line", "refused to readers"):
            broken.append(f"{name} of {file.relative_to(output)} {flags}: {end}")
        shutil.rmtree(output)
    counted = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return Seen(held=not broken, what="; ".join([f"{_TRIALS} damaged outputs: {counted}", *broken[:5]]))


def _draw(folder: Path, random: Random) -> None:
    folder.mkdir()
    for number in range(_IMAGES):
        pixels = np.random.default_rng(random.getrandbits(32)).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(np.asarray(pixels)).save(folder / f"{number}.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def _leave_commit(output: Path) -> None:
    """Turn the output into that of a run that was killed when it had decided to commit its predictions."""
    [file] = (output / "predictions").iterdir()
    staged = output / _STAGING / "predictions" / file.name
    staged.parent.mkdir(parents=True)
    file.rename(staged)
    moves = [[str(staged.relative_to(output)), f"predictions/{file.name}"]]
    (output / _STAGING / JOURNAL).write_text(json.dumps({"wave": 0, "moves": moves, "deletions": []}))


def _end(images: Path, output: Path, flags: list[str], expected: dict[str, list[str]]) -> str:
    """Run the command twice, since it may be the second run that meets the damage, and say how that ended."""
    for _ in range(2):
        try:
            code, said = _run(images, output, *flags)
        except BaseException as error:
            return f"traceback: {type(error).__name__}: {error}"
        if code == 2:
            return "one line" if said.count("\n") == 1 else f"several lines: {said}"
        if code:
            return f"code {code}: {said}"
    try:
        found = {table: rows["path"].to_pylist() for table, rows in output_checks.read_rows(output).items()}
    except BrokenGuaranteeError:
        # A run reads of earlier rows only what it needs; the checksums of other columns are for those who read these.
        return "refused to readers"
    return "complete" if found == expected else f"wrong rows: {found}"


def _run(images: Path, output: Path, *flags: str) -> tuple[int, str]:
    arguments = [f"--input={images}", f"--output={output}", f"--model={small_bundle()}", "--progress=off", *flags]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        return predict.main([*arguments, "--max_failure_rate=1"]), said.getvalue()


def _cut(file: Path, random: Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: random.randrange(len(data) + 1)])


def _flip(file: Path, random: Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(random.choice((1, 8, 64))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    file.write_bytes(data)


def _blank(file: Path, random: Random) -> None:
    data = bytearray(file.read_bytes())
    start = random.randrange(len(data))
    end = min(len(data), start + random.choice((4, 64, 4096)))
    data[start:end] = random.choice((b"\0", b"\xff")) * (end - start)
    file.write_bytes(data)


def _replace(file: Path, random: Random) -> None:
    texts = ("", "null", "[]", "7", '"x"', "{}", "[" * 100_000, '{"status": "running"}', "9" * 10_000, "\0", "NaN")
    file.write_text(random.choice(texts))


def _exchange(file: Path, random: Random) -> None:
    other = random.choice(sorted(path for path in file.parents[1].rglob("*") if path.is_file()))
    file.write_bytes(other.read_bytes())


def _make_folder(file: Path, random: Random) -> None:
    file.unlink()
    file.mkdir()


def _edit(file: Path, random: Random) -> None:
    """Change one value in a file's JSON, or in a table's columns or footer, into one that has no place there."""
    if file.suffix != ".parquet":
        file.write_text(json.dumps(_with_another_value(json.loads(file.read_bytes()), random)))
        return
    table = pq.read_table(file, partitioning=None)
    if random.random() < 0.5:
        footer = json.loads(table.schema.metadata[FOOTER.encode()])
        table = table.replace_schema_metadata({FOOTER: json.dumps(_with_another_value(footer, random))})
    else:
        name = random.choice(("path", "fingerprint", *table.column_names))
        column = table.column_names.index(name)
        values = table[name].to_pylist()
        values[random.randrange(len(values))] = None
        kept, null = pa.array(values, table.schema.types[column]), pa.nulls(len(values))
        table = table.set_column(column, name, random.choice((kept, null)))
    pq.write_table(table, file)


def _with_another_value(described: Any, random: Random) -> Any:
    """Return JSON in which one value, however deep, is replaced."""
    if not described or not isinstance(described, dict | list) or random.random() < 0.2:
        strange: tuple[Any, ...] = (None, True, -1, 10**400, "x", [], {}, [[]], 1e308)
        names = ("predictions/\0.parquet", "predictions/\ud800.parquet", f"failures/{'x' * 300}.parquet")
        return random.choice((*strange, *names))
    items = list(described.items()) if isinstance(described, dict) else list(enumerate(described))
    place, value = random.choice(items)
    items[items.index((place, value))] = place, _with_another_value(value, random)
    return dict(items) if isinstance(described, dict) else [value for _, value in items]


_DAMAGES: Sequence[tuple[str, Damage]] = (
    ("a cut", _cut),
    ("flipped bits", _flip),
    ("a blank", _blank),
    ("another text", _replace),
    ("an exchange", _exchange),
    ("a folder in place", _make_folder),
    # Most other damage is noticed by the first look at a file.
    *[("another value", _edit)] * 6,
)


ATTACKS = (
    Attack(
        "damage_outputs",
        f"{_TRIALS} times a file of an output, with a commit left to do, is damaged, replaced or exchanged, and the "
        "command run twice",
        "the run is refused in one line, or all rows are there once; never a traceback",
        damage_outputs,
    ),
)

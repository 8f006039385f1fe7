"""What staged files and staging folders say of themselves, so that another run can recover the rows of a dead one.

A staged file says in its footer what it holds, and a staging folder whose it is. Both are part of the output's format:
a run of a later version may find them.
"""

from __future__ import annotations

import base64
import json
import posixpath
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines import storage
from pipelines.inference import shift
from pipelines.output.footers import CONTENTS
from pipelines.output.journal import is_shadow, is_table_file
from pipelines.output.manifest import ENDED, RECOVERED, accounts_of, describe, find_content
from pipelines.output.no_rows import Columns, columns_of
from pipelines.output.run import RUNS, STAGING, TABLES, Accounts, Run

FORMAT = 1
"""Version of both descriptions; files and folders of a later one are left alone."""

_RUN, _CLAIMED = "run.json", "claimed.json"
_END = b"PAR1"
"""The last bytes of a complete Parquet file."""


class Announced(NamedTuple):
    """What a staging folder says of its run.

    Attributes:
      folder: of the tables, relative to the output.
      described: what the run's manifest will say, with counts of 0.
      columns: of the tables; empty if a version of scenetags that did not announce them made the folder.
    """

    folder: str
    described: Mapping[str, Any]
    columns: Columns


class Contents(NamedTuple):
    """What a staged file says of its rows.

    Attributes:
      accounts: counts of them.
      replaces: file of the older row that a row replaces, by the path of its image.
    """

    accounts: Accounts
    replaces: Mapping[str, str]


def announce(run: Run) -> None:
    """Write to the staging folder of a run whose it is, before anything is staged.

    Raises:
      OSError: it cannot be written.
    """
    described = json.loads(describe(run, Accounts(), "running"))
    columns = {table: base64.b64encode(schema.serialize()).decode() for table, schema in columns_of(run).items()}
    content = {**described, "format": FORMAT, "folder": run.relative(run.folder), "columns": columns}
    storage.write(storage.join(run.staging, _RUN), json.dumps(content).encode())


def is_announced(staging: str) -> bool:
    """Return whether a staging folder says whose it is; one that is recovered, or was, does not."""
    return storage.exists(storage.join(staging, _RUN))


def claim(staging: str) -> Announced | None:
    """Take over the staging folder of a dead run.

    Whatever is left of that run sees from now on that it may not commit any more. Another recovery may claim the folder
    again.

    Returns:
      What the folder says of its run; None if it says nothing that this version understands.

    Raises:
      OSError: the output cannot be written.
    """
    claimed = storage.join(staging, _CLAIMED)
    announcement = storage.join(staging, _RUN)
    if is_announced(staging):
        if not _read_announced(announcement):
            return None
        storage.move(announcement, claimed)
    return _read_announced(claimed)


def look_at(staging: str) -> Announced | None:
    """Return what a staging folder says of its run, as `claim` does, and leave it to that run.

    Raises:
      OSError: the output cannot be read.
    """
    return _read_announced(storage.join(staging, _RUN)) or _read_announced(storage.join(staging, _CLAIMED))


def holds_rows(output: str, staging: str) -> bool:
    """Return whether a staging folder holds rows that can be recovered: those of a run that has not ended as it should.

    Raises:
      OSError: the output cannot be read.
    """
    if not is_announced(staging) and not storage.exists(storage.join(staging, _CLAIMED)):
        return False
    name = posixpath.basename(staging).removeprefix(STAGING)
    described = find_content(storage.join(output, RUNS, f"{name}.json"))
    if described and described.get("status") in (*ENDED, RECOVERED):
        return False
    sizes = [storage.list_sizes(storage.join(staging, table), ".parquet") for table in TABLES]
    return any(is_complete(path, size) for table in sizes for path, size in table.items())


def is_complete(path: str, size: int) -> bool:
    """Return whether a staged file has an end; what a killed run was writing has none.

    Raises:
      OSError: it cannot be read.
    """
    with suppress(FileNotFoundError):
        return size >= len(_END) and storage.read_range(path, size - len(_END), len(_END)) == _END
    return False


def describe_contents(contents: Contents) -> dict[str, str]:
    """Return what is added to the footer of a staged file."""
    accounts = {**contents.accounts.counts, "shift": shift.describe(None, contents.accounts.seen)}
    described = {"format": FORMAT, "accounts": accounts, "replaces": dict(contents.replaces)}
    return {CONTENTS.decode(): json.dumps(described)}


def read_contents(footer: Mapping[bytes, bytes]) -> Contents | None:
    """Read what a staged file says of its rows.

    Args:
      footer: metadata of the file.

    Returns:
      None if it says nothing that this version understands, as a file that was joined from others.
    """
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        described = json.loads(footer[CONTENTS])
        accounts, replaces = accounts_of(described["accounts"]), described["replaces"]
        if described["format"] == FORMAT and _are_counts(accounts) and all(map(is_table_file, replaces.values())):
            return Contents(accounts, replaces)
    return None


def _read_announced(path: str) -> Announced | None:
    # The content of a manifest, and more.
    described = find_content(path) or {}
    with suppress(ValueError, TypeError, KeyError, AttributeError, pa.ArrowException):
        form, folder = described.pop("format"), described.pop("folder")
        columns = {
            table: pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))
            for table, packed in described.pop("columns", {}).items()
        }
        accounts_of(described)
        if form == FORMAT and (folder == "" or is_shadow(folder)) and columns.keys() <= set(TABLES):
            return Announced(folder, described, columns)
    return None


def _are_counts(accounts: Accounts) -> bool:
    """Return whether accounts from an untrusted file consist of numbers."""
    by_kind = (accounts.tags, accounts.repairs, accounts.errors, accounts.passed_over)
    numbers = [accounts.inputs, accounts.predictions, accounts.failures, accounts.skipped]
    numbers += [accounts.empty, accounts.oversized]
    numbers += [number for counts in by_kind for number in Counter(counts).values()]
    return all(type(number) is int and number >= 0 for number in numbers)

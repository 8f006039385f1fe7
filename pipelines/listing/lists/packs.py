"""Divide a list into packs of names, or into its files if it is a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pipelines import archives
from pipelines.listing.lists.contents import Pack, look_up_pack, open_list
from pipelines.listing.lists.files import PATH_COLUMN, find_tables, locate
from pipelines.listing.lists.names import Named, Row
from pipelines.listing.members import Archive
from pipelines.records import KeptColumn, Listed

_NAMES_OF_A_PACK, _MOST_NAMES_OF_A_PACK = 4096, 1 << 16
_NAMES_OF_A_TABLE = 1_000_000_000


class Table(NamedTuple):
    """A file of a list that is a folder of Parquet files.

    Attributes:
      folder: the list.
      path: of the file.
      column: that holds the paths.
      kept: columns whose values are kept.
      before: a number larger than that of the names before them.
    """

    folder: str
    path: str
    column: str
    kept: Sequence[KeptColumn]
    before: int


def divide_list(
    path: str,
    column: str = PATH_COLUMN,
    passed_over: Counter[str] | None = None,
    tell: Callable[[str], object] = lambda _: None,
    kept: Sequence[KeptColumn] = (),
) -> Iterator[Pack | Table]:
    """Divide a list into packs of names, or into its files if it is a folder; see `read_list`.

    Reading a name takes microseconds, and looking it up in a bucket a request.

    Raises:
      InputError: the list cannot be read, or has no such column.
    """
    path = locate(path)
    if tables := find_tables(path, passed_over):
        yield from (Table(path, table, column, kept, number * _NAMES_OF_A_TABLE) for number, table in enumerate(tables))
        return
    whole = open_list(path, column, passed_over, tell, kept)
    before, archive = 0, ""
    pack: list[Named] = []
    for name in whole.names:
        if len(pack) >= _NAMES_OF_A_PACK:
            # Members of an archive stay together: each pack of them reads its directory.
            archive = archive or _archive_of(pack[-1])
            if not archive or _archive_of(name) != archive or len(pack) >= _MOST_NAMES_OF_A_PACK:
                yield whole._replace(names=tuple(pack), before=before)
                before += len(pack)
                pack, archive = [], ""
        pack.append(name)
    if pack:
        yield whole._replace(names=tuple(pack), before=before)


def look_up_table(table: Table) -> Iterator[Listed | Archive]:
    """Look up the names in a file of a list.

    Raises:
      InputError: the file cannot be read, or has no such column.
    """
    pack = open_list(table.folder, table.column, None, lambda _: None, table.kept, table.path)
    return look_up_pack(pack._replace(before=table.before))


def _archive_of(named: Named) -> str:
    """Return the archive of which a name is a member, judging by the name."""
    name = named.name if isinstance(named, Row) else named
    archive, member = archives.split_member(name) if isinstance(name, str) else ("", None)
    return archive if member else ""

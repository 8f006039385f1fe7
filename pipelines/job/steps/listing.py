"""Steps that list: what the inputs name is divided into pieces, and workers list them side by side."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from apache_beam.pvalue import TaggedOutput

from pipelines.archives.packed import pack, unpack
from pipelines.job.steps.step import COUNTED, SOURCES, RunStep, in_window
from pipelines.listing.inputs import Inputs
from pipelines.listing.members import Archive
from pipelines.listing.pieces import Piece, divide, list_piece, open_listed
from pipelines.listing.scenes import CutSettings, Cutter, may_be_cut
from pipelines.output.identities import earlier_files
from pipelines.output.partitions import partition_of, read_parts
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.stale import ReadThrough, read_through
from pipelines.records import Listed
from pipelines.scenes.documents import NO_DOCUMENTS, Documents

_log = logging.getLogger(__name__)

_NAMES_PER_PACK = 1024
_SCENES_PER_PACK = 16
_NAMES_PER_PARTITION = 128
"""Names that wait for others of their partition, at most: all partitions together take 80 MB."""

_NUMBERS = 1 << 40
"""More than any source has pieces, and any piece names."""


class EarlierFile(NamedTuple):
    """A file with rows of earlier runs, relative to the folder of the tables."""

    name: str


Found = bytes | tuple[int, Archive] | EarlierFile
"""What is found in a piece: a pack of names, an archive with its number, or the piece itself."""


class Divide(RunStep):
    """Divide inputs into pieces that can be listed side by side; the files of earlier runs are pieces, too.

    In later waves, so are those of earlier waves.
    """

    def __init__(self, run: Run, inputs: Inputs, wave: Wave) -> None:
        super().__init__(run)
        self._inputs = inputs
        self._wave = wave

    def process(self, _: bytes) -> Iterator[Any]:
        passed_over: Counter[str] = Counter()
        for file in earlier_files(self._run.folder, self._run.name if self._wave.is_first else None):
            yield EarlierFile(file)
        yield from divide(self._inputs, passed_over, _log.warning)
        yield TaggedOutput(COUNTED, Accounts(passed_over=passed_over))


class ListPieces(RunStep):
    """List the files of a piece in packs, with archives and what may be a scene apart: opening them takes longer."""

    def __init__(self, run: Run, documents: Documents = NO_DOCUMENTS) -> None:
        super().__init__(run)
        self._documents = documents

    def process(self, piece: Piece | EarlierFile) -> Iterator[Any]:
        if isinstance(piece, EarlierFile):
            yield piece
            return
        passed_over: Counter[str] = Counter()
        plain: list[tuple[int, Listed]] = []
        scenes: list[tuple[int, Listed]] = []
        first = (piece.source * _NUMBERS + piece.position) * _NUMBERS
        files = list_piece(piece, passed_over, documents=self._documents)
        for number, listed in enumerate(files, start=first):
            if isinstance(listed, Archive):
                yield number, listed
                continue
            waiting, most = plain, _NAMES_PER_PACK
            if self._run.grid and may_be_cut(listed):
                waiting, most = scenes, _SCENES_PER_PACK
            waiting.append((number, listed))
            if len(waiting) == most:
                yield pack(waiting)
                waiting.clear()
        yield from (pack(waiting) for waiting in (plain, scenes) if waiting)
        yield TaggedOutput(COUNTED, Accounts(passed_over=passed_over))


class OpenListed(RunStep):
    """List the members of archives and the windows of scenes, and read earlier rows: all of it by partition.

    It also passes on the numbers of the sources in which there was anything.
    """

    def __init__(self, run: Run, cutting: CutSettings) -> None:
        super().__init__(run)
        self._cutting = cutting
        self._cutter: Cutter | None = None

    def start_bundle(self) -> None:
        self._waiting: dict[int, list[tuple[int, Listed]]] = defaultdict(list)
        self._passed_over: Counter[str] = Counter()
        self._sources: set[int] = set()
        self._cutter = Cutter(self._cutting, _log.warning) if self._run.grid else None

    def process(self, found: Found) -> Iterator[Any]:
        if isinstance(found, EarlierFile):
            yield from read_parts(self._run.folder, found.name, self._run.name)
            return
        for number, listed in unpack(found) if isinstance(found, bytes) else [found]:
            for opened in open_listed(listed, self._passed_over):
                self._sources.add(number // _NUMBERS // _NUMBERS)
                cut = self._cutter.put(opened, number) if self._cutter else [(number, opened)]
                for item in cut:
                    yield from self._put(*item)

    def finish_bundle(self) -> Iterator[Any]:
        for item in self._cutter.drain() if self._cutter else ():
            yield from map(in_window, self._put(*item))
        # Gone for good: a worker keeps its steps after a bundle.
        while self._waiting:
            partition, waiting = self._waiting.popitem()
            yield in_window((partition, pack(waiting)))
        yield in_window(TaggedOutput(COUNTED, Accounts(passed_over=self._passed_over)))
        for source in self._sources:
            yield in_window(TaggedOutput(SOURCES, source))

    def teardown(self) -> None:
        # A bundle that failed was not drained.
        if self._cutter:
            self._cutter.close()

    def _put(self, number: int, listed: Listed) -> Iterator[tuple[int, bytes | ReadThrough]]:
        if archive := read_through(self._run, listed):
            # Its own row is in another partition than those of its members.
            yield partition_of(archive.path), archive
        partition = partition_of(self._run.known_as(listed.path))
        waiting = self._waiting[partition]
        waiting.append((number, listed))
        if len(waiting) == _NAMES_PER_PARTITION:
            del self._waiting[partition]
            yield partition, pack(waiting)

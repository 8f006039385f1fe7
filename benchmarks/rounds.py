"""Measure contenders in turn, round after round, and check their output."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks import material
from benchmarks.bare import Bare, mean
from benchmarks.contenders import SCENETAGS, Contender
from benchmarks.processes import CommandError, Finished, run
from benchmarks.rows import Probabilities, WrongRowsError, check_agreement, read_rows

SIXTEEN = 16
_BARE_IMAGES = 640


class TooFewImagesError(ValueError):
    """Images that took no longer than a single one, so that no rate can be computed."""


class Figures(NamedTuple):
    """One contender in one round.

    Attributes:
      images: number of images tagged.
      seconds: from the start of its process to its end.
      seconds_of_one: the same for a single image.
      core_seconds: processor time of all its processes.
      core_seconds_of_one: the same for a single image.
      peak_bytes: peak memory of all its processes.
    """

    images: int
    seconds: float
    seconds_of_one: float
    core_seconds: float
    core_seconds_of_one: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Return images per second, excluding start-up.

        This flatters contenders that start up while some of their processes already work: all start-up is subtracted.
        """
        return (self.images - 1) / (self.seconds - self.seconds_of_one)

    @property
    def core_ms(self) -> float:
        """Return milliseconds of a core per image, excluding start-up; other programs change it less than a rate."""
        return (self.core_seconds - self.core_seconds_of_one) / (self.images - 1) * 1e3

    @property
    def rate_with_start(self) -> float:
        """Return images per second of the whole process."""
        return self.images / self.seconds


class Round(NamedTuple):
    """The measurements of one round.

    Attributes:
      load: load average of the minute before, including this benchmark's processes.
      bare: the parts alone, averaged from before and after `scenetags predict`.
      seconds_of_sixteen: duration of `scenetags predict` for 16 images, including start-up.
      figures: of each contender, by name.
    """

    load: float
    bare: Bare
    seconds_of_sixteen: float
    figures: dict[str, Figures]


@dataclass
class Bench:
    """A benchmark in progress.

    Attributes:
      model: path of a bundle.
      int8: path of a bundle with the same model, quantized.
      labels: of the bundle.
      paths: of the images, each once.
      few: number of images for slow peers.
      peers: to compare with `scenetags predict`; wrong ones are removed.
      wrong: reasons, by name of the removed peer.
      tell: called with progress messages.
    """

    model: str
    int8: str
    labels: Sequence[str]
    paths: Sequence[str]
    few: int
    peers: list[Contender]
    scenetags: Contender = SCENETAGS
    wrong: dict[str, str] = field(default_factory=dict)
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)

    def __post_init__(self) -> None:
        self._references: dict[str, Probabilities] = {}

    def warm_up(self) -> None:
        """Run everything once, to compile bytecode, cache files, and find wrong peers before they cost an hour."""
        self.measure_bare(1)
        self.tag(self.scenetags, SIXTEEN)
        self._try_peers(lambda peer: self.tag(peer, SIXTEEN))

    def measure_round(self) -> Round:
        """Measure everything once, in turn."""
        load = os.getloadavg()[0]
        before = self.measure_bare(_BARE_IMAGES)
        [one, sixteen] = [self.tag(self.scenetags, count) for count in (1, SIXTEEN)]
        finished = self.tag(self.scenetags, len(self.paths))
        figures = {self.scenetags.name: _figures(len(self.paths), finished, one)}
        after = self.measure_bare(_BARE_IMAGES)

        def measure(peer: Contender) -> None:
            one = self.tag(peer, 1)
            count = min(self.few, len(self.paths)) if peer.slow else len(self.paths)
            figures[peer.name] = _figures(count, self.tag(peer, count), one)

        self._try_peers(measure)
        return Round(load, mean(before, after), sixteen.seconds, figures)

    def measure_bare(self, count: int) -> Bare:
        """Measure the parts of the job separately."""
        with _folder() as folder:
            images = material.write_list(folder / "images.txt", self.paths[:count])
            command = [sys.executable, "-m", "benchmarks.bare", f"--images={images}", f"--model={self.model}"]
            run([*command, f"--output={folder}"], material.environment(), folder / "log.txt")
            return Bare(**json.loads((folder / "bare.json").read_text()))

    def tag(self, contender: Contender, count: int) -> Finished:
        """Have a contender tag the first images, and check its rows.

        Raises:
          CommandError: it failed.
          WrongRowsError: it did not write one row per image, or its rows differ from those it is compared with.
        """
        paths = self.paths[:count]
        with _folder() as folder:
            images, output = material.write_list(folder / "images.txt", paths), folder / "output"
            output.mkdir()
            command = contender.filled(images, self.model, self.int8, output)
            finished = run(command, material.environment(), folder / "log.txt")
            rows = read_rows(output, self.labels, paths)
        if contender is not self.scenetags and contender.is_exact:
            check_agreement(rows, self._references[contender.against])
        if count >= len(self._references.get(contender.name, ())):
            self._references[contender.name] = rows
        self.tell(
            f"  {contender.title}: {count:,} images, {finished.seconds:.1f} s, {finished.peak_bytes / 1e6:,.0f} MB"
        )
        return finished

    def _try_peers(self, work: Callable[[Contender], object]) -> None:
        """Do something with each peer, and remove those that are wrong."""
        for peer in list(self.peers):
            try:
                if peer.against in self.wrong:
                    raise WrongRowsError(f"{peer.against}, with which it is compared, is wrong")
                work(peer)
            except (CommandError, WrongRowsError, TooFewImagesError) as error:
                self.tell(f"  {peer.title} is wrong and excluded: {error}")
                self.wrong[peer.name] = str(error)
                self.peers.remove(peer)


def _figures(count: int, finished: Finished, one: Finished) -> Figures:
    if finished.seconds <= one.seconds:
        raise TooFewImagesError(
            f"{count} images took {finished.seconds:.1f} s and a single one {one.seconds:.1f} s: too few images or a "
            "busy machine; increase --count or --peer_count"
        )
    return Figures(count, finished.seconds, one.seconds, finished.core_seconds, one.core_seconds, finished.peak_bytes)


@contextmanager
def _folder() -> Iterator[Path]:
    material.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=material.CACHE) as folder:
        yield Path(folder)

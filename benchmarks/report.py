"""Lay out what was measured: ratios within a round, their medians and spreads, and what they should be."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contenders import Contender
from benchmarks.rounds import SIXTEEN, Figures, Round
from pipelines.supervision.machine import available_cores

INSTALL = "pip install 'scenetags[bench]'"
SECONDS_OF_SIXTEEN = 4.0
_PACKAGES = (
    *("scenetags", "ai-edge-litert", "apache-beam", "numpy", "pillow", "pyarrow"),
    *("tensorflow", "keras", "ray", "daft"),
)


class Spread(NamedTuple):
    """A figure over all rounds."""

    median: float
    least: float
    most: float

    def shown(self, digits: int = 2) -> str:
        """Write the figure for people."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


class Goal(NamedTuple):
    """A figure that should be reached.

    Attributes:
      title: what it is, for people.
      reached: over all rounds.
      wanted: of its median.
      at_least: whether the median should be so much at least, or else at most.
    """

    title: str
    reached: Spread
    wanted: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Return whether the median is as wanted."""
        return self.reached.median >= self.wanted if self.at_least else self.reached.median <= self.wanted


class Report(NamedTuple):
    """What was measured.

    Attributes:
      rounds: all of them.
      measured: `scenetags predict`, and the peers that were measured to the end.
      skipped: peers that are not installed, by their titles, and the modules that they lack.
      wrong: why peers that were wrong have no figures, by their names.
    """

    rounds: Sequence[Round]
    measured: Sequence[Contender]
    skipped: Mapping[str, Sequence[str]]
    wrong: Mapping[str, str]

    def over_rounds(self, figure: Callable[[Round], float]) -> Spread:
        """Return a figure's median and range."""
        return _spread(figure(measured) for measured in self.rounds)

    def times(self, peer: str) -> Spread:
        """Return how many times the rate of a peer `scenetags predict` reaches, start-up excluded in both."""
        return self.over_rounds(lambda r: _scenetags(r).rate / r.figures[peer].rate)

    def of_engines(self) -> dict[str, tuple[Spread, Spread]]:
        """Return what part of each bare engine's rate `scenetags predict` reaches: start-up excluded, and with it."""
        return {
            title: (
                _spread(_scenetags(measured).rate / rate(measured) for measured in self.rounds),
                _spread(_scenetags(measured).rate_with_start / rate(measured) for measured in self.rounds),
            )
            for title, rate in _ENGINES.items()
        }

    def goals(self) -> list[Goal]:
        """Return all goals that the measured contenders have."""
        without, whole = self.of_engines()[BARE_ENGINE]
        return [
            Goal("of the bare engine, start-up excluded", without, 0.93),
            Goal("of the bare engine, whole process", whole, 0.80),
            *(Goal(f"times {peer.title}", self.times(peer.name), peer.goal) for peer in self.measured if peer.goal),
            Goal(
                f"seconds for {SIXTEEN} images, from start to rows",
                self.over_rounds(lambda r: r.seconds_of_sixteen),
                SECONDS_OF_SIXTEEN,
                at_least=False,
            ),
        ]

    def table(self) -> str:
        """Lay everything out for people."""
        lines = [f"{described()['cpu']}, {available_cores()} cores; medians of {len(self.rounds)} rounds in turn", ""]
        lines.append(f"{'':33}  images  images/s  start-up  peak memory  scenetags predict is")
        lines += [self._row(contender) for contender in self.measured]
        lines += [f"{title:33} skipped: no {', '.join(lacks)}; {INSTALL}" for title, lacks in self.skipped.items()]
        lines += [f"{name:33} wrong: {reason.splitlines()[0]}" for name, reason in self.wrong.items()]
        lines += ["", f"{'the engine alone':33} images/s  of it: start-up excluded  of it: whole process"]
        for title, (without, whole) in self.of_engines().items():
            rate = self.over_rounds(_ENGINES[title]).median
            lines.append(f"{title:33} {rate:8.1f}  {without.shown():23}  {whole.shown()}")
        lines.append("")
        for part in ("decode", "resize"):
            spread = _spread(1000 / getattr(measured.bare, part) for measured in self.rounds)
            lines.append(f"{part}, one core: {spread.shown()} ms an image")
        lines.append("")
        for goal in self.goals():
            word = "at least" if goal.at_least else "at most"
            lines.append(
                f"{'met   ' if goal.met else 'MISSED'} {goal.reached.shown()} {goal.title}; "
                f"the goal is {word} {goal.wanted:g}"
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return everything for machines."""
        return {
            "machine": described(),
            "rounds": [
                measured._asdict()
                | {"bare": measured.bare._asdict(), "figures": {n: _told(f) for n, f in measured.figures.items()}}
                for measured in self.rounds
            ],
            "times": {peer.name: self.times(peer.name)._asdict() for peer in self.measured[1:]},
            "of_engine": {
                title: {"start_excluded": without._asdict(), "whole": whole._asdict()}
                for title, (without, whole) in self.of_engines().items()
            },
            "goals": [goal._asdict() | {"reached": goal.reached._asdict(), "met": goal.met} for goal in self.goals()],
            "skipped": {title: list(lacks) for title, lacks in self.skipped.items()},
            "wrong": dict(self.wrong),
        }

    def _row(self, contender: Contender) -> str:
        def median(figure: Callable[[Figures], float]) -> float:
            return statistics.median(figure(measured.figures[contender.name]) for measured in self.rounds)

        times = "" if contender is self.measured[0] else f"{self.times(contender.name).shown()} times as fast"
        return (
            f"{contender.title:33} {median(lambda f: f.images):7,.0f} {median(lambda f: f.rate):9.1f} "
            f"{median(lambda f: f.seconds_of_one):7.1f} s {median(lambda f: f.peak_bytes) / 1e6:9,.0f} MB  {times}"
        )


BARE_ENGINE = "one interpreter, a thread a core"
_ENGINES: dict[str, Callable[[Round], float]] = {
    BARE_ENGINE: lambda measured: measured.bare.interpreter,
    "our pool, an interpreter a core": lambda measured: measured.bare.pool,
    "the better of both": lambda measured: measured.bare.better,
}


def described() -> dict[str, Any]:
    """Describe the machine, and the versions that were measured."""
    info = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in _lines(info) if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": available_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "versions": {"python": platform.python_version()} | {p: v for p in _PACKAGES if (v := _version(p))},
    }


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _spread(values: Iterable[float]) -> Spread:
    listed = list(values)
    return Spread(statistics.median(listed), min(listed), max(listed))


def _scenetags(measured: Round) -> Figures:
    return measured.figures["scenetags"]


def _told(figures: Figures) -> dict[str, float]:
    return figures._asdict() | {"rate": figures.rate, "rate_with_start": figures.rate_with_start}

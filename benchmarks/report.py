"""Format the results: ratios within a round, their medians and ranges, and goals."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.bare import BFLOAT16_POOL, BFLOAT16_QUEUE, INTERPRETER, POOL, QUEUE
from benchmarks.contenders import BFLOAT16, OPENVINO, SCENETAGS, Contender
from benchmarks.rounds import SIXTEEN, Figures, Round
from pipelines.inference.processor import AMX, AVX512, bfloat16_units, describe_processor
from pipelines.supervision.machine import available_cores

INSTALL = "pip install 'scenetags[bench]'"
SECONDS_OF_SIXTEEN = 2.0
BFLOAT16_GAIN = {AMX: 1.7, AVX512: 1.3}
"""Least factor by which a job in bfloat16 is faster than one with LiteRT, by the processor's units for it."""

_RUNS_ON = {
    INTERPRETER: SCENETAGS,
    POOL: SCENETAGS,
    QUEUE: OPENVINO,
    BFLOAT16_QUEUE: BFLOAT16,
    BFLOAT16_POOL: BFLOAT16,
}
"""The contender that runs on each bare engine."""
_PACKAGES = (
    *("scenetags", "ai-edge-litert", "apache-beam", "numpy", "pillow", "pyarrow"),
    *("tensorflow", "keras", "ray", "daft"),
)


class Spread(NamedTuple):
    """Median and range of a figure over all rounds."""

    median: float
    least: float
    most: float

    def shown(self, digits: int = 2) -> str:
        """Format the figure."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


class Goal(NamedTuple):
    """A goal for a figure.

    Attributes:
      title: human-readable name.
      reached: over all rounds.
      wanted: target for the median.
      at_least: whether the target is a minimum; a maximum otherwise.
    """

    title: str
    reached: Spread
    wanted: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Return whether the median meets the target."""
        return self.reached.median >= self.wanted if self.at_least else self.reached.median <= self.wanted


class Shares(NamedTuple):
    """The shares of a bare engine's rate that the `scenetags predict` with this engine reaches.

    Attributes:
      without: start-up excluded.
      whole: start-up included.
      possible: of the rate of engine and decoder together, start-up excluded.
    """

    without: Spread
    whole: Spread
    possible: Spread


class Report(NamedTuple):
    """The results.

    Attributes:
      rounds: all rounds.
      measured: `scenetags predict`, and the peers measured in all rounds.
      skipped: missing modules of peers that are not installed, by title.
      wrong: reasons why wrong peers have no figures, by name.
    """

    rounds: Sequence[Round]
    measured: Sequence[Contender]
    skipped: Mapping[str, Sequence[str]]
    wrong: Mapping[str, str]

    def over_rounds(self, figure: Callable[[Round], float]) -> Spread:
        """Return a figure's median and range."""
        return _spread(figure(measured) for measured in self.rounds)

    def times(self, peer: str) -> Spread:
        """Return how many times as fast as a peer the `scenetags predict` compared with it is, excluding start-up."""
        [against] = [contender.against for contender in self.measured if contender.name == peer]
        return self.over_rounds(lambda r: r.figures[against].rate / r.figures[peer].rate)

    def of_engines(self) -> dict[str, Shares]:
        """Return the shares of the bare engines that were measured, by title."""
        names = {contender.name for contender in self.measured}
        return {title: self._shares(title, on.name) for title, on in _RUNS_ON.items() if on.name in names}

    def _shares(self, engine: str, name: str) -> Shares:
        return Shares(
            self.over_rounds(lambda r: r.figures[name].rate / r.bare.engines[engine]),
            self.over_rounds(lambda r: r.figures[name].rate_with_start / r.bare.engines[engine]),
            self.over_rounds(lambda r: r.figures[name].rate / r.bare.with_decoding(engine)),
        )

    def goals(self) -> list[Goal]:
        """Return the goals of all measured contenders."""
        engines = self.of_engines()
        return [
            Goal("of the bare engine, excluding start-up", engines[INTERPRETER].without, 0.93),
            Goal("of the bare engine, including start-up", engines[INTERPRETER].whole, 0.80),
            *self._goals_in_bfloat16(engines),
            *(Goal(f"times {peer.title}", self.times(peer.name), peer.goal) for peer in self.measured if peer.goal),
            Goal(
                f"seconds for {SIXTEEN} images, from start to output",
                self.over_rounds(lambda r: r.seconds_of_sixteen),
                SECONDS_OF_SIXTEEN,
                at_least=False,
            ),
        ]

    def _goals_in_bfloat16(self, engines: Mapping[str, Shares]) -> list[Goal]:
        if BFLOAT16_QUEUE not in engines:
            return []
        gain = self.over_rounds(lambda r: r.figures[BFLOAT16.name].rate / _scenetags(r).rate)
        return [
            Goal("of engine and decoder in bfloat16", engines[BFLOAT16_QUEUE].possible, 0.90),
            Goal("times LiteRT in bfloat16", gain, BFLOAT16_GAIN[bfloat16_units()]),
        ]

    def table(self) -> str:
        """Format everything as text."""
        lines = [f"{describe_processor()}, {available_cores()} cores; medians of {len(self.rounds)} rounds", ""]
        lines.append(f"{'':33}  images  images/s  core-ms  start-up  peak memory  scenetags predict is")
        lines += [self._row(contender) for contender in self.measured]
        lines += [
            f"{title:33} skipped: {', '.join(lacks)} not installed; run {INSTALL}"
            for title, lacks in self.skipped.items()
        ]
        lines += [f"{name:33} wrong: {reason.splitlines()[0]}" for name, reason in self.wrong.items()]
        lines += ["", f"{'bare engine':41} images/s  share reached        including start-up   of engine and decoder"]
        for title, shares in self.of_engines().items():
            rate = statistics.median(measured.bare.engines[title] for measured in self.rounds)
            lines.append(f"{title:41} {rate:8.1f}  {'  '.join(spread.shown() for spread in shares)}")
        lines.append("")
        for part in ("decode", "resize"):
            spread = _spread(1000 / getattr(measured.bare, part) for measured in self.rounds)
            lines.append(f"{part}, one core: {spread.shown()} ms per image")
        lines.append("")
        for goal in self.goals():
            word = "at least" if goal.at_least else "at most"
            lines.append(
                f"{'met   ' if goal.met else 'MISSED'} {goal.reached.shown()} {goal.title}; "
                f"goal: {word} {goal.wanted:g}"
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON-compatible objects."""
        return {
            "machine": described(),
            "rounds": [
                measured._asdict()
                | {"bare": measured.bare._asdict(), "figures": {n: _as_json(f) for n, f in measured.figures.items()}}
                for measured in self.rounds
            ],
            "times": {peer.name: self.times(peer.name)._asdict() for peer in self.measured[1:]},
            "of_engine": {
                title: {name: spread._asdict() for name, spread in shares._asdict().items()}
                for title, shares in self.of_engines().items()
            },
            "goals": [goal._asdict() | {"reached": goal.reached._asdict(), "met": goal.met} for goal in self.goals()],
            "skipped": {title: list(lacks) for title, lacks in self.skipped.items()},
            "wrong": dict(self.wrong),
        }

    def _row(self, contender: Contender) -> str:
        def median(figure: Callable[[Figures], float]) -> float:
            return statistics.median(figure(measured.figures[contender.name]) for measured in self.rounds)

        compared = contender.name != contender.against
        times = f"{self.times(contender.name).shown()} times as fast" if compared else ""
        times += " with this engine" * (contender.against not in (contender.name, SCENETAGS.name))
        return (
            f"{contender.title:33} {median(lambda f: f.images):7,.0f} {median(lambda f: f.rate):9.1f} "
            f"{median(lambda f: f.core_ms):8.2f} {median(lambda f: f.seconds_of_one):7.1f} s "
            f"{median(lambda f: f.peak_bytes) / 1e6:9,.0f} MB  {times}"
        )


def described() -> dict[str, Any]:
    """Describe the machine and the versions measured."""
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


def _as_json(figures: Figures) -> dict[str, float]:
    computed = {"rate": figures.rate, "rate_with_start": figures.rate_with_start, "core_ms": figures.core_ms}
    return figures._asdict() | computed

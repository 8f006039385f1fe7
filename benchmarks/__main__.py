"""Benchmark `scenetags predict` against its parts and its peers: `python -m benchmarks`.

Every round measures everything once, in turn, so that drift in the machine's speed affects all alike. What counts are
the ratios within a round; absolute rates mean little on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import material
from benchmarks.contenders import PEERS, SCENETAGS, with_opponents
from benchmarks.processes import CommandError
from benchmarks.report import Report
from benchmarks.rounds import Bench, TooFewImagesError
from benchmarks.rows import WrongRowsError
from pipelines.inference.bundle import load_bundle
from pipelines.inference.processor import bfloat16_units


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and optionally write JSON.

    Returns:
      1 if a contender was wrong or, with `--check`, a goal was missed; 0 otherwise.
    """
    options = _parser().parse_args(argv)
    if options.quick:
        options.count, options.peer_count, options.rounds = 200, 50, 1
    chosen = PEERS if options.only is None else with_opponents(options.only)
    skipped = {peer.title: peer.missing() for peer in chosen if peer.missing()}
    images = Path(options.images or material.synthetic_chips(options.count)).resolve()
    paths = sorted(str(path) for path in images.iterdir())[: options.count]
    model = str(Path(options.model or material.large_bundle()).resolve())
    int8 = options.int8 or ("" if options.model else str(material.int8_bundle()))
    runnable = (peer for peer in chosen if not peer.missing() and (bfloat16_units() or not peer.bfloat16))
    peers = [peer for peer in runnable if int8 or not peer.quantized]
    bench = Bench(model, int8, load_bundle(model).labels, paths, options.peer_count, peers)
    try:
        return _measure(bench, options, skipped)
    except (CommandError, WrongRowsError, TooFewImagesError) as error:
        print(f"{SCENETAGS.title} cannot be measured: {error}", file=sys.stderr)
        return 1


def _measure(bench: Bench, options: argparse.Namespace, skipped: dict[str, list[str]]) -> int:
    bench.tell("warm-up")
    bench.warm_up()
    rounds = []
    for number in range(1, options.rounds + 1):
        bench.tell(f"round {number}")
        rounds.append(bench.measure_round())
        report = Report(rounds, [bench.scenetags, *bench.peers], skipped, bench.wrong)
        if options.json:
            options.json.write_text(json.dumps(report.as_json(), indent=2))
    print(report.table())
    missed = options.check and not all(goal.met for goal in report.goals())
    return int(bool(bench.wrong) or missed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--model", help="a local bundle (default: alpha 1.0 at 224 px, hardly trained)")
    parser.add_argument(
        "--int8", help="a bundle of the same model trained with --quantize int8 (default: one is trained)"
    )
    parser.add_argument("--images", help="a folder of images (default: synthetic chips of 256 px)")
    parser.add_argument("--count", type=int, default=4000, help="number of images (default 4000)")
    parser.add_argument("--peer_count", type=int, default=400, help="number of images for slow peers (default 400)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to measure (default 5)")
    parser.add_argument(
        "--only",
        nargs="*",
        metavar="PEER",
        choices=[peer.name for peer in PEERS],
        help="measure only these peers and what they are compared with, or none if no name is given",
    )
    parser.add_argument("--quick", action="store_true", help="one round of few images, to check that everything runs")
    parser.add_argument("--check", action="store_true", help="exit with code 1 if a goal is missed")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Attack the promises of `docs/guarantees.md`, and print what was seen: `python -m tools.attack`.

Name attacks to run only these: `python -m tools.attack zeroed_tars`. With `--list`, they are listed and not run.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tools import attacks
from tools.attacks import Attack, Seen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run attacks, print a row of a table for each, and return 1 if a promise was broken."""
    known = {attack.name: attack for attack in find_attacks()}
    options = _parse(arguments, list(known))
    chosen = [known[name] for name in options.name or known]
    print("| attack | attempt | promise | seen | seconds | held |")
    print("|---|---|---|---|--:|---|", flush=True)
    broken = 0
    for attack in chosen:
        begin = time.monotonic()
        seen = Seen(held=True, what="") if options.list else carry_out(attack)
        broken += not seen.held
        held = "" if options.list else "yes" if seen.held else "**NO**"
        seconds = f"{time.monotonic() - begin:.1f}"
        cells = (attack.name, attack.attempt, attack.promise, seen.what, seconds, held)
        print(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |", flush=True)
    if not options.list:
        print(f"\n{len(chosen)} attacks, {broken} broke a promise")
    return 1 if broken else 0


def find_attacks() -> list[Attack]:
    """Find the attacks of all rooms."""
    modules = sorted(module.name for module in pkgutil.iter_modules(attacks.__path__))
    return [attack for name in modules for attack in importlib.import_module(f"{attacks.__name__}.{name}").ATTACKS]


def carry_out(attack: Attack) -> Seen:
    """Run one attack in a folder of its own; an error of the attack itself proves nothing, so it counts as broken."""
    with tempfile.TemporaryDirectory(prefix=f"attack-{attack.name}-") as folder:
        try:
            return attack.run(Path(folder))
        except Exception:
            return Seen(held=False, what=f"the attack failed: {traceback.format_exc().splitlines()[-1]}")


def _parse(arguments: Sequence[str] | None, known: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", metavar="ATTACK", help="attacks to run; by default all")
    parser.add_argument("--list", action="store_true", help="list the attacks, and run none")
    options = parser.parse_args(arguments)
    if unknown := set(options.name) - set(known):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}; --list names them")
    return options


if __name__ == "__main__":
    raise SystemExit(main())

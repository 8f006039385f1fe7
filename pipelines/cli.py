"""The `scenetags` command: dispatch to the module of each subcommand."""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.commandline.printing import UnprintableError, discard_output, log, log_libraries, show, to_output
from pipelines.credentials import without_secrets
from pipelines.errors import ExitCode
from pipelines.supervision import interruption
from pipelines.supervision.packages import version


class Command(NamedTuple):
    """A subcommand.

    Attributes:
      module: its `main` takes the arguments and returns the exit code. It is imported only when the command is used:
        training is a separate package, and prediction must work without it.
      purpose: one line for the overview.
      package: to install for it.
    """

    module: str
    purpose: str
    package: str = "scenetags"


COMMANDS = {
    "predict": Command("pipelines.predict", "tag an archive of images and write Parquet files"),
    "plan": Command("pipelines.plan", "estimate the time and cost of a job before running it"),
    "tag": Command("pipelines.tag", "tag a few images and print the result"),
    "report": Command("pipelines.report", "summarize an output on one page: figures, thresholds and thumbnails"),
    "query": Command(
        "pipelines.query", "find images by their tags, and list, copy or export them", "scenetags[results]"
    ),
    "ddl": Command("pipelines.ddl", "print the statements that load an output into a database"),
    "map": Command("pipelines.map", "put the tagged windows of scenes on a map"),
    "stac": Command("pipelines.stac", "describe tagged scenes as STAC items"),
    "retag": Command("pipelines.retag", "reassign the tags of an output, without running the model"),
    "recover": Command("pipelines.recover", "commit what a cancelled or killed run had tagged"),
    "compare": Command(
        "pipelines.compare", "compare two outputs: which tags changed, and by how much", "scenetags[results]"
    ),
    "train": Command("model.train", "train a model on labelled images and export a bundle", "scenetags[train]"),
    "import": Command("model.importing", "make a bundle from a model that was trained elsewhere", "scenetags[train]"),
    "evaluate": Command("model.evaluate", "measure predictions against labels"),
}

HELP = """\
usage: scenetags COMMAND ...

Tag satellite images with a multi-label model, and never be silently wrong about one of them.

commands:
{commands}

Run `scenetags COMMAND --help` for details.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
      The exit code: the command's own, 2 if there is no such command, or 1 after a bug or if its output cannot be
      printed. After a signal, 128 plus its number: also if nobody reads the rest of the output, as in `| head`.
    """
    _open_missing_streams()
    # What is imported stays. To look for garbage among it as often as usual took 0.2 s of a command's start.
    gc.set_threshold(50_000)
    # Before any library is imported: Beam warns while it is.
    log_libraries(verbose=False)
    if argv is None and sys.getfilesystemencoding() != "utf-8":
        _restart_in_utf8()
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            with to_output():
                sys.stdout.flush()
    except BrokenPipeError:
        if not _is_output_closed():
            raise
        discard_output()
        return 128 + signal.SIGPIPE
    except UnprintableError as error:
        discard_output()
        log(f"scenetags: the result cannot be printed: {error}", exit_code=int(ExitCode.STOPPED))
        return ExitCode.STOPPED
    except Exception:
        # A bug, of which the traceback is needed; but libraries put URLs with signatures into their messages.
        log(*without_secrets(traceback.format_exc()).rstrip().split("\n"), exit_code=int(ExitCode.STOPPED))
        return ExitCode.STOPPED


def _open_missing_streams() -> None:
    """Open the standard streams that the caller has closed, e.g. by `2>&-`, to nowhere.

    Otherwise the next file that is opened would take the place of one, and receive what a library prints to it.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - open as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _restart_in_utf8() -> None:
    """Start again so that names of files are read as UTF-8: in a locale of ISO-8859-1, rows would hold other names.

    What is printed remains in the encoding of the locale. Nothing happens if Python was told to ignore the setting.
    """
    if os.environ.get("PYTHONUTF8") == "1":
        return
    printed = f"{sys.stdout.encoding}:{sys.stdout.errors}"
    environment = {"PYTHONIOENCODING": printed, **os.environ, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _is_output_closed() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        overview = "\n".join(f"  {name:9} {command.purpose}" for name, command in COMMANDS.items())
        show(*HELP.format(commands=overview).split("\n"))
        return ExitCode.DONE if argv else ExitCode.WRONG_USAGE
    if argv[0] == "--version":
        show(f"scenetags {version('scenetags')}")
        return ExitCode.DONE
    command = COMMANDS.get(argv[0])
    if command is None:
        near = difflib.get_close_matches(argv[0].lower(), COMMANDS, 1, 0.7)
        meant = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
        log(f"scenetags: unknown command {argv[0]}; {meant}")
        return ExitCode.WRONG_USAGE
    try:
        with interruption.raised_between_imports():
            exit_code: int = importlib.import_module(command.module).main(argv[1:])
        return exit_code
    except KeyboardInterrupt:
        log("", f"scenetags {argv[0]}: interrupted", exit_code=128 + signal.SIGINT)
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("pipelines", "model"):
            raise
        remedy = f"run pip install '{command.package}'"
        log(f"scenetags {argv[0]}: {error.name} is not installed; {remedy}", exit_code=int(ExitCode.WRONG_USAGE))
        return ExitCode.WRONG_USAGE


if __name__ == "__main__":
    sys.exit(main())

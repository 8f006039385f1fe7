"""The parser shared by all commands, the types of flag values, and error reporting."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from pipelines.commandline.nearest import ask, bare, find_nearest
from pipelines.commandline.numbers import Range, spelled
from pipelines.commandline.printing import log
from pipelines.commandline.synonyms import ARGUMENTS
from pipelines.errors import ExitCode, ScenetagsError

_NEGATIVE_NUMBER = re.compile(r"-(\.?\d|(inf|infinity|nan)$)", re.IGNORECASE)

_LACKS_VALUE = re.compile(r"argument (\S+): expected one argument")
_EXCLUDES = re.compile(r"argument (\S+): not allowed with argument (\S+)")


class UsageError(ScenetagsError):
    """A command line that cannot be carried out."""


class Parser(argparse.ArgumentParser):
    """A parser that raises an error, where argparse prints several lines of usage and exits."""

    def __init__(self, prog: str, description: str, epilog: str | None = None, *, passes_on: bool = False) -> None:
        """Create a parser that prints its help as written and accepts no abbreviated flags.

        Args:
          prog: name of the command.
          description: above the flags.
          epilog: below them.
          passes_on: whether flags that it does not know may be meant for another program.
        """
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        self._passes_on = passes_on
        # Argparse takes only plain numbers for values, and `-100:3000` and `-inf` for unknown flags.
        self._negative_number_matcher = _NEGATIVE_NUMBER

    def format_help(self) -> str:
        """Write the help page; its first line names what is required, and not each of many flags."""
        words = [_written(action) for action in self._actions if not action.option_strings]
        words += [
            f"{one.option_strings[0]} {one.metavar}" for one in self._actions if one.option_strings and one.required
        ]
        self.usage = self.usage or " ".join(["%(prog)s", *words, "[flags]"])
        return super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; if that fails and one of them is a mistyped flag, say so.

        Raises:
          UsageError: the arguments cannot be carried out.
        """
        try:
            return super().parse_known_args(args, namespace)
        except UsageError as error:
            # The cause, where argparse reports a consequence: that the flag meant is missing.
            lacking = [one for one in self._unflagged() if re.search(rf"\b{one.metavar}\b", error.message)]
            raise self._mistyped(args, lacking) or error from None

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments, none of which may be unknown.

        Raises:
          UsageError: the arguments cannot be carried out.
        """
        known, others = self.parse_known_args(args, namespace)
        self.refuse(others, known)
        return known

    def refuse(self, others: Sequence[str], known: argparse.Namespace) -> None:
        """Refuse arguments that are not known, if there are any.

        Args:
          others: the arguments.
          known: what the known ones say.

        Raises:
          UsageError: there are some.
        """
        if others:
            flag = others[0].partition("=")[0] if others[0].startswith("-") else ""
            said = f"unknown argument {flag}" if flag else f"unexpected argument {others[0]}"
            # Argparse may have taken the value of an unknown flag for that of another argument.
            taken = bool(flag) and flag in others and not _has_value(flag, others)
            lacking = [one for one in self._unflagged() if taken or not getattr(known, one.dest)]
            raise self._mistyped(others, lacking) or UsageError(f"{said} (see {self.prog} --help)")

    def _unflagged(self) -> list[argparse.Action]:
        return [action for action in self._actions if not action.option_strings]

    def _mistyped(self, words: Sequence[str], lacking: Sequence[argparse.Action]) -> UsageError | None:
        """Return an error that names the first unknown flag for which another argument was meant; None without one.

        Args:
          words: the arguments.
          lacking: those without a flag that have not been given.
        """
        known = self._option_string_actions
        for flag in _flags(words):
            if flag not in known and (meant := _called(bare(flag), self._unflagged()) or _meant(bare(flag), lacking)):
                return UsageError(f"unknown argument {flag}", f"write {meant[0].metavar} without a flag")
        if error := mistyped(words, known, sure=self._passes_on):
            return error
        for flag in _flags(words):
            # As the value of `--model` is called.
            if flag not in known and len(meant := _called(bare(flag), set(known.values()))) == 1:
                return UsageError(f"unknown argument {flag}", ask(meant[0].option_strings))
        return None

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Take the values of a flag, none of which may be empty, but for that of a note.

        An empty one is rarely meant: it is what an unset variable of the shell leaves, and would stand for the default,
        or for the current folder.
        """
        if "" in arg_strings and action.dest != "note":
            name = action.option_strings[-1] if action.option_strings else action.metavar
            raise UsageError(f"{name} is empty", "give it a value or omit it; a shell variable may be unset")
        return super()._get_values(action, arg_strings)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Take a value of a flag; if it is a number outside of its range, say which numbers are within."""
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            if not isinstance(action.type, Range):
                raise
            raise UsageError(
                f"{action.option_strings[-1]} {arg_string}: {error.message}", action.type.hint(arg_string)
            ) from None

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
          UsageError: always.
        """
        if lacking := _LACKS_VALUE.fullmatch(message):
            flag = lacking[1]
            raise UsageError(f"{flag} needs a value", f"write {flag} VALUE, or {flag}=VALUE if it begins with a hyphen")
        if (both := _EXCLUDES.fullmatch(message)) is not None:
            raise UsageError(f"{both[2]} and {both[1]} cannot be combined", "omit one of them")
        raise UsageError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Show a switch as people give it: the value that a template may add would look like a choice to make."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if action.type is _read_switch:
            return ", ".join(action.option_strings)
        return super()._format_action_invocation(action)


def _written(action: argparse.Action) -> str:
    """Write a positional argument as a usage line does."""
    return f"{action.metavar} ..." if action.nargs == "+" else str(action.metavar)


class Once(argparse.Action):
    """A flag that may be given once: argparse itself would forget all but the last value."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, flag: str | None = None
    ) -> None:
        """Store the value, unless there is one."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{flag} is given twice")
        setattr(namespace, self.dest, values)


def mistyped(words: Sequence[str], flags: Iterable[str], *, sure: bool) -> UsageError | None:
    """Return an error that names the first unknown flag that resembles a known one; None if none does.

    Args:
      words: the arguments.
      flags: that are known.
      sure: whether to guess only where hardly anything else can be meant, since another program has flags, too: Beam's
        `--num_workers` is not meant to be `--workers`.
    """
    known = list(flags)
    for flag in _flags(words):
        if flag not in known and (near := find_nearest(flag, known, sure=sure)):
            return UsageError(f"unknown argument {flag}", ask(near))
    return None


def _called(name: str, actions: Iterable[argparse.Action]) -> list[argparse.Action]:
    """Return the arguments whose values are called so in the help."""
    return [action for action in actions if str(action.metavar).lower() == name]


def _meant(name: str, actions: Iterable[argparse.Action]) -> list[argparse.Action]:
    """Return the arguments that people call so, although the help does not."""
    return [action for action in actions if action.metavar in ARGUMENTS.get(name, ())]


def _has_value(flag: str, words: Sequence[str]) -> bool:
    following = words[words.index(flag) + 1 :]
    return bool(following) and not following[0].startswith("-")


def _flags(words: Iterable[str]) -> Iterator[str]:
    """Return which arguments are flags, without their values."""
    for word in words:
        if word.startswith("-") and word.strip("-") and not _NEGATIVE_NUMBER.match(word):
            yield word.partition("=")[0]


def check_range(flag: str, value: float | None, allowed: Range) -> None:
    """Verify that a number is within the range of its flag; None is the default.

    Raises:
      UsageError: it is not.
    """
    if value is not None and not allowed.holds(value):
        raise UsageError(f"{flag} {spelled(value)}: not {allowed}")


def print_error(command: str, error: ScenetagsError) -> int:
    """Print an error to standard error in one line, and return the command's exit code."""
    log(f"{command}: {error}", exit_code=int(error.exit_code))
    return error.exit_code


def print_stopped(command: str, error: OSError, remedy: str = "") -> int:
    """Print in one line what has stopped a command, e.g. a full disk, and return the command's exit code.

    Args:
      command: its name.
      error: that stopped it.
      remedy: what to do once that is mended.
    """
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    then = f"; {remedy}" if remedy else ""
    log(f"{command}: stopped: {where}{error.strerror or error}{then}", exit_code=int(ExitCode.STOPPED))
    return ExitCode.STOPPED


def read_bound(text: str) -> tuple[str, float]:
    """Read a label and a probability, as in `road=0.8`: a flag type."""
    label, sign, bound = text.rpartition("=")
    try:
        probability = float(bound)
    except ValueError:
        probability = math.nan
    if not sign or not label or not 0 <= probability <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not LABEL=P with a probability from 0 to 1, e.g. road=0.8")
    return label, probability


def add_switch(group: argparse._ActionsContainer, flag: str, help: str) -> None:
    """Add a boolean flag, true if given without a value; templates give every flag a value, `true` or `false`."""
    group.add_argument(flag, nargs="?", const=True, default=False, type=_read_switch, help=help)


def _read_switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"


def place(text: str) -> str:
    """Be a flag type: the path of what is written, which may be a URL with `file://`; no bucket that lacks a slash."""
    # Imported here, as help needs no storage.
    from pipelines import storage

    if hint := storage.hint_at_scheme(text):
        raise argparse.ArgumentTypeError(f"{text} would be on this machine; {hint}")
    try:
        return storage.plain(text)
    except storage.UnsupportedStorageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error

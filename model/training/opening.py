"""Open the workspace of a training: lock it, refuse what is not its own, and keep what it may resume from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from model.export.lock import lock
from model.quality.fbeta import BETA
from model.training.workspace import IMAGES, OF_FINISHED, OF_UNFINISHED, SETTINGS, Workspace, WorkspaceError, remove
from pipelines import storage

_KIND = {"kind": "scenetags training"}
_LOCK = "lock"
# Of a SHA-256 in hexadecimal, as settings identify images and labels.
_DIGEST_LENGTH = 64


@contextmanager
def open_workspace(folder: Path, settings: Mapping[str, str], beta: float = BETA) -> Iterator[Workspace]:
    """Lock the folder of a training and prepare it: to resume interrupted training, or to start.

    Args:
      folder: the workspace.
      settings: everything that determines the outcome of the training.
      beta: of the F-beta in its history.

    Raises:
      WorkspaceError: another training is running there, or one with different settings is unfinished, or the folder
        holds other files or cannot be written.
    """
    with ExitStack() as held:
        held.callback(_remove_empty, folder)  # once the lock in it is released
        try:
            _refuse_foreign(folder)
            held.enter_context(lock(folder / _LOCK))
            _prepare(folder, settings)
        except storage.LockedError:
            raise WorkspaceError(
                f"{folder}: another training is running there", "wait for it to finish, or choose another --output"
            ) from None
        except OSError as error:
            raise WorkspaceError(f"{folder}: {error.strerror}") from error
        workspace = Workspace(folder, beta)
        try:
            yield workspace
        except BaseException:
            if not workspace.can_resume():
                workspace.discard()
            raise


def _refuse_foreign(folder: Path) -> None:
    """Make sure that what may be deleted is ours: without settings, a folder `images` may be the user's own."""
    foreign = sorted({_whole_name(file) for file in folder.iterdir()} - _ours(folder)) if folder.exists() else []
    if foreign:
        raise WorkspaceError(
            f"{folder} is needed for training, but holds other files, such as {foreign[0]}", "move or delete them"
        )


def _prepare(folder: Path, settings: Mapping[str, str]) -> None:
    """Keep what interrupted training with the same settings has left; otherwise start over."""
    for partial in folder.glob("*.partial"):
        partial.unlink()
    unfinished = _read_settings(folder / SETTINGS)
    if unfinished == settings:
        return
    if unfinished is not None and Workspace(folder).history_file.exists():
        raise WorkspaceError(
            f"{folder} holds an unfinished training with different settings ({_difference(unfinished, settings)})",
            "finish it with its own command, or delete that folder to start over",
        )
    # Decoding finds out by itself whether the images are still those that are needed.
    remove(folder, _ours(folder) - {_LOCK, IMAGES})
    storage.write(str(folder / SETTINGS), json.dumps({**_KIND, **settings}, indent=2).encode())


def _ours(folder: Path) -> set[str]:
    unfinished = OF_UNFINISHED if _read_settings(folder / SETTINGS) is not None else ()
    return {SETTINGS, _LOCK, *OF_FINISHED, *unfinished}


def _whole_name(file: Path) -> str:
    """Return the name that a partly written file will have once it is complete."""
    return re.sub(r"(\.[0-9a-f]{8})?\.partial$", "", file.name)


def _read_settings(file: Path) -> dict[str, str] | None:
    try:
        settings = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        settings = None
    if not isinstance(settings, dict) or not settings.items() >= _KIND.items():
        raise WorkspaceError(
            f"{file} is damaged, or not from a training", f"move or delete {file.parent} to start over"
        )
    return {name: value for name, value in settings.items() if name not in _KIND}


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """List the settings that differ, with their values unless these are digests."""
    changed = [name for name in now if before.get(name) != now[name]]
    return ", ".join(
        f"{name} changed" if len(now[name]) == _DIGEST_LENGTH else f"{name} was {before.get(name)}, is {now[name]}"
        for name in changed
    )


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()

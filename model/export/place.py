"""Where a bundle is written."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pipelines.commandline.parser import UsageError, place


def output_folder(text: str) -> Path:
    """Be a flag type: the local folder of a bundle, which may be a URL with `file://`."""
    path = place(text)
    if "://" in path:
        raise argparse.ArgumentTypeError(f"{text} is not a local folder; write to one, then copy the bundle")
    return Path(path)


def check_output(output: Path) -> None:
    """Make sure that a bundle can be written to a folder, before any work is done for it.

    Raises:
      UsageError: it holds something, or cannot be written.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"--output: {output} already exists", "remove it or choose another --output")
    parent = next(folder for folder in output.resolve().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise UsageError(f"--output: cannot write in {parent}", "choose a writable folder")

"""Files in folders, and what listing makes of them."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.listing import list_images
from pipelines.records import Failure


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def names(folder: Path, *inputs: str, input_list: str | None = None) -> list[str]:
    listed = list(list_images(inputs, input_list))
    failed = [item for item in listed if isinstance(item, Failure)]
    assert not failed, f"could not be listed: {failed}"
    return [os.path.relpath(item.path, folder) for item in listed]


def failures(*inputs: str, input_list: str | None = None) -> dict[str, str]:
    return {item.path: item.message for item in list_images(inputs, input_list) if isinstance(item, Failure)}

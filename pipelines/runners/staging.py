"""Give workers whose image has no scenetags the package that runs here, packed as a wheel."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import re
import zipfile
from collections.abc import Iterator
from importlib import metadata
from importlib.resources.abc import Traversable
from pathlib import Path, PurePath

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, SetupOptions, WorkerOptions

DISTRIBUTION, PACKAGES = "scenetags", ("model", "pipelines")

_UNPINNED = ("apache-beam",)
"""Brought by the image of the worker; Beam itself compares it with the launcher's."""

_TAG = "py3-none-any"


def stage_package(beam_options: PipelineOptions, folder: str | Path) -> None:
    """Have workers install the package that runs here, unless the user brings it to them himself.

    An image of his, a `--setup_file` or an `--extra_package` with scenetags in it is his way to bring it. A
    `--requirements_file` is not: workers install it first, and then take this package in place of what it names.

    Args:
      beam_options: their `extra_packages` are added to.
      folder: for the wheel, to be kept until the job is submitted.
    """
    if not _is_brought(beam_options):
        setup = beam_options.view_as(SetupOptions)
        setup.extra_packages = [*(setup.extra_packages or ()), str(pack_wheel(folder))]


def pack_wheel(folder: str | Path) -> Path:
    """Write the package that runs here to a wheel, the same bytes for the same code and dependencies.

    Its dependencies are those that run here, version by version: workers compute with what the launcher computes with.

    Args:
      folder: for the wheel.

    Returns:
      The wheel, called `scenetags-<version>-py3-none-any.whl`.
    """
    release = f"{DISTRIBUTION}-{metadata.version(DISTRIBUTION)}"
    files = dict(package_files())
    for name, text in (
        ("METADATA", _describe()),
        ("WHEEL", f"Wheel-Version: 1.0\nGenerator: {DISTRIBUTION}\nRoot-Is-Purelib: true\nTag: {_TAG}\n"),
        ("entry_points.txt", metadata.distribution(DISTRIBUTION).read_text("entry_points.txt") or ""),
        ("top_level.txt", "".join(f"{package}\n" for package in PACKAGES)),
    ):
        files[f"{release}.dist-info/{name}"] = text.encode()
    record = f"{release}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    path = Path(folder, f"{release}-{_TAG}.whl")
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, data)
    return path


def package_files() -> Iterator[tuple[str, bytes]]:
    """Read all files of the package from where it was imported: their paths as in a wheel, in order, and contents."""
    for package in PACKAGES:
        yield from _files(importlib.resources.files(package), package)


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name == "__pycache__" or entry.name.startswith(".") or entry.name.endswith(".pyc"):
            continue
        if entry.is_dir():
            yield from _files(entry, f"{path}/{entry.name}")
        else:
            yield f"{path}/{entry.name}", entry.read_bytes()


def _describe() -> str:
    about = metadata.metadata(DISTRIBUTION)
    fields = {name: about[name] for name in ("Name", "Version", "Summary", "License", "Requires-Python")}
    lines = [f"{name}: {value}" for name, value in {"Metadata-Version": "2.1", **fields}.items() if value]
    return "\n".join([*lines, *(f"Requires-Dist: {requirement}" for requirement in sorted(_requirements())), ""])


def _requirements() -> Iterator[str]:
    """Give what the package needs, pinned, and boto3 where it is installed: the image is not asked for extras."""
    for requirement in metadata.requires(DISTRIBUTION) or ():
        wanted, _, marker = (part.strip() for part in requirement.partition(";"))
        if "extra" not in marker:
            yield _pin(wanted) + (f"; {marker}" if marker else "")
        elif marker == 'extra == "s3"' and _pin(wanted) != wanted:
            yield _pin(wanted)


def _pin(wanted: str) -> str:
    """Replace the versions that are wanted by the one that is installed here, if one is."""
    name = re.match(r"[\w.-]+(\[.*\])?", wanted)[0]  # type: ignore[index]
    try:
        version = metadata.version(name.partition("[")[0])
    except metadata.PackageNotFoundError:
        return wanted
    # A version's local part, after the +, is known to no index.
    return wanted if name in _UNPINNED else f"{name}=={version.partition('+')[0]}"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _is_brought(beam_options: PipelineOptions) -> bool:
    setup, portable = beam_options.view_as(SetupOptions), beam_options.view_as(PortableOptions)
    worker = beam_options.view_as(WorkerOptions)
    image = worker.sdk_container_image or worker.worker_harness_container_image
    if (portable.environment_type or "DOCKER").upper() == "DOCKER":
        image = image or portable.environment_config or portable.lookup_environment_option("docker_container_image")
    packages = (PurePath(package).name for package in setup.extra_packages or ())
    return bool(image or setup.setup_file or any(re.match(rf"{DISTRIBUTION}-\d", name) for name in packages))

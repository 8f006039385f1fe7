"""Stage the running package as a wheel, for workers whose image has no scenetags."""

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
"""Part of the worker's image; Beam itself compares its version with the launcher's."""

_EXTRAS = ('extra == "s3"', 'extra == "scenes"')
"""Workers list buckets and cut scenes."""

_TAG = "py3-none-any"


def stage_package(beam_options: PipelineOptions, folder: str | Path) -> None:
    """Have workers install the running package, unless the user provides it.

    Users provide it with their own image, a `--setup_file`, or an `--extra_package` of scenetags. A
    `--requirements_file` does not count: workers install it first, and then this package over what it names.

    Args:
      beam_options: the wheel is added to their `extra_packages`.
      folder: for the wheel; keep it until the job is submitted.
    """
    if not _is_provided(beam_options):
        setup = beam_options.view_as(SetupOptions)
        setup.extra_packages = [*(setup.extra_packages or ()), str(pack_wheel(folder))]


def pack_wheel(folder: str | Path) -> Path:
    """Write the running package to a wheel, with identical bytes for identical code and dependencies.

    Its dependencies are pinned to the versions installed here, so that workers compute with the same code as the
    launcher.

    Args:
      folder: for the wheel.

    Returns:
      Path of the wheel, named `scenetags-<version>-py3-none-any.whl`.
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
    """Yield path and content of each file of the imported package, with paths as in a wheel, in order."""
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
    """Yield the package's requirements, pinned, and what is installed of the extras that any worker may need."""
    for requirement in metadata.requires(DISTRIBUTION) or ():
        wanted, _, marker = (part.strip() for part in requirement.partition(";"))
        if "extra" not in marker:
            yield _pin(wanted) + (f"; {marker}" if marker else "")
        elif marker in _EXTRAS and _pin(wanted) != wanted:
            yield _pin(wanted)


def _pin(wanted: str) -> str:
    """Replace a requirement's versions by the one installed here, if any."""
    name = re.match(r"[\w.-]+(\[.*\])?", wanted)[0]  # type: ignore[index]
    try:
        version = metadata.version(name.partition("[")[0])
    except metadata.PackageNotFoundError:
        return wanted
    # Package indexes do not know local version parts, after the +.
    return wanted if name in _UNPINNED else f"{name}=={version.partition('+')[0]}"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _is_provided(beam_options: PipelineOptions) -> bool:
    setup, portable = beam_options.view_as(SetupOptions), beam_options.view_as(PortableOptions)
    worker = beam_options.view_as(WorkerOptions)
    image = worker.sdk_container_image or worker.worker_harness_container_image
    if (portable.environment_type or "DOCKER").upper() == "DOCKER":
        image = image or portable.environment_config or portable.lookup_environment_option("docker_container_image")
    packages = (PurePath(package).name for package in setup.extra_packages or ())
    return bool(image or setup.setup_file or any(re.match(rf"{DISTRIBUTION}-\d", name) for name in packages))

"""The options of `scenetags predict`: what they are, their defaults, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipelines import storage
from pipelines.commandline.numbers import SHARE, Range, at_least
from pipelines.commandline.parser import UsageError, check_range, mistyped
from pipelines.commandline.rasters import check_percentiles, read_rendering
from pipelines.commandline.scenes import read_documents, read_grid
from pipelines.credentials import flags_without_secrets, url_without_secrets
from pipelines.images.limits import Limits
from pipelines.images.rendering import Rendering
from pipelines.inference import BATCH_SIZE
from pipelines.reading import READS_IN_FLIGHT
from pipelines.scenes.documents import Documents
from pipelines.scenes.grid import Grid

_ACCELERATOR = re.compile(r"type:[\w.-]+;count:[1-9]\d*(;[\w:.-]+)*", re.ASCII)

_DAY = 86_400

RANGES: Mapping[str, Range] = {
    # The limits keep a slip of the finger from starting so many threads that the system ends the run, or hangs, and
    # from a batch that takes all memory: larger ones are no faster; an image takes 14 MB in TensorFlow on a CPU.
    "batch_size": at_least(1, 1024),
    "checkpoint_every": at_least(1),
    "commit_every": at_least(1),
    "reads_in_flight": at_least(1, 4096),
    "threads": at_least(1, 1024),
    "processes": Range(1, 256, whole=True, word="auto"),
    "max_bytes": Range(1, whole=True),
    "max_pixels": Range(1, whole=True),
    "max_seconds": Range(0, _DAY, above=True),
    "checkpoint_seconds": Range(0, above=True),
    "threshold": SHARE,
    "max_failure_rate": SHARE,
}
"""Numbers that options may have, by name; scenes have theirs in `scenes`."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What the user asked for; the flags of the same names say what each means.

    Attributes:
      processes: None for as many as the machine needs.
      max_bytes: None for the default of `images.limits.Limits`; so are `max_pixels` and `max_seconds`.
      beam_flags: flags that go to Beam.
    """

    input: tuple[str, ...]
    input_list: str | None = None
    path_column: str = "path"
    keep_columns: str | None = None
    relative_to: str | None = None
    allow_empty: bool = False
    model: str
    output: str
    batch_size: int = BATCH_SIZE
    engine: str = "auto"
    precision: str = "float32"
    threshold: float | None = None
    embeddings: bool = False
    max_failure_rate: float = 0.05
    fail_fast: bool = False
    fail_on_shift: bool = False
    checkpoint_every: int = 20_000
    checkpoint_seconds: float = 600.0
    commit_every: int | None = None
    reads_in_flight: int = READS_IN_FLIGHT
    threads: int | None = None
    processes: int | None = None
    accelerator: str | None = None
    dry_run: bool = False
    requester_pays: bool = False
    anonymous: bool = False
    overwrite: bool = False
    max_bytes: int | None = None
    max_pixels: int | None = None
    max_seconds: float | None = None
    isolate_decoding: bool = False
    bands: str | None = None
    stretch: str | None = None
    product: str | None = None
    tile: int | None = None
    stride: int | None = None
    min_valid: float | None = None
    edge: str | None = None
    mask: str | None = None
    nodata: float | None = None
    asset: str | None = None
    allow_vrt: str | None = None
    progress: str = "auto"
    log_format: str = "text"
    verbose: bool = False
    beam_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
          UsageError: a value is out of its range, or options contradict one another.
        """
        self._check_paths()
        check_percentiles(self.rendering, bool(self.grid))
        _ = self.documents
        if self.grid and self.isolate_decoding:
            raise UsageError("--tile and --isolate_decoding cannot be combined", "omit one of them")
        if self.precision == "bfloat16" and self.engine not in ("auto", "openvino"):
            raise UsageError(
                f"--engine {self.engine} does not compute in bfloat16", "use --engine openvino, or omit --precision"
            )
        for name, allowed in RANGES.items():
            check_range(f"--{name}", getattr(self, name), allowed)
        if self.processes is not None and self.processes > 1:
            self._check_processes(self.processes)
        if self.accelerator is not None and not _ACCELERATOR.fullmatch(self.accelerator):
            raise UsageError(
                f"--accelerator {self.accelerator} is not of the form type:T;count:N",
                "write e.g. 'type:nvidia-l4;count:1;install-nvidia-driver'",
            )
        if self.allow_empty and self.overwrite:
            raise UsageError(
                "--allow_empty and --overwrite cannot be combined: an empty input would delete all rows",
                "omit one of them",
            )
        if self.max_seconds is not None and not self.isolate_decoding:
            raise UsageError(
                "--max_seconds needs --isolate_decoding: only a process can be stopped, not a thread",
                "add --isolate_decoding, or omit --max_seconds",
            )
        if self.anonymous and self.requester_pays:
            raise UsageError(
                "--anonymous and --requester_pays cannot be combined: only an account can pay", "omit one of them"
            )

    @property
    def limits(self) -> Limits:
        """The per-image limits: those given, and the defaults for the others."""
        return Limits.given(self.max_bytes, self.max_pixels, self.max_seconds, self.isolate_decoding)

    @property
    def rendering(self) -> Rendering:
        """How rasters become pictures, as far as it was said; the bundle says the rest."""
        return read_rendering(self.bands, self.stretch, self.product)

    @property
    def grid(self) -> Grid:
        """How scenes are cut into windows."""
        return read_grid(self.tile, self.stride, self.min_valid, self.edge, self.mask, self.nodata)

    @property
    def documents(self) -> Documents:
        """Which documents may name the files to tag."""
        return read_documents(self.asset, self.allow_vrt, self.tile, self.bands)

    def described(self) -> dict[str, Any]:
        """Return all options by name, without credentials."""
        return {
            **asdict(self),
            "input": tuple(map(url_without_secrets, self.input)),
            "input_list": self.input_list and url_without_secrets(self.input_list),
            "beam_flags": tuple(flags_without_secrets(self.beam_flags)),
        }

    def _check_processes(self, processes: int) -> None:
        if self.isolate_decoding:
            raise UsageError(
                f"--isolate_decoding has processes of its own, and cannot be combined with --processes {processes}",
                "omit one of them",
            )
        if self.threads is not None and self.threads < processes:
            raise UsageError(
                f"--threads {self.threads} is the total of --processes {processes}, each of which needs at least one",
                "raise it",
            )

    def _check_paths(self) -> None:
        for flag, path in (
            *(("--input", pattern) for pattern in self.input),
            ("--input_list", self.input_list),
            ("--model", self.model),
            ("--output", self.output),
            ("--relative_to", self.relative_to),
        ):
            _check_path(flag, path)
        for pattern in self.input if self.relative_to else ():
            if not _may_be_below(pattern, self.relative_to or ""):
                # Imported here: NumPy would make `--help` slow.
                from pipelines import archives

                names_archive = archives.is_archive(self.relative_to or "")
                raise UsageError(
                    f"--input {pattern} is not below --relative_to {self.relative_to}",
                    "name the folder that the archive is in" if names_archive else "write both paths the same way",
                )
        if not storage.can_be_written(self.output):
            raise UsageError(f"--output {self.output}: an output must be a local folder, or in gs:// or in s3://")
        if self.path_column != PredictOptions.path_column and self.input and not self.input_list:
            raise UsageError(
                f"--path_column {self.path_column} applies only to a list", "name the list with --input_list"
            )
        if self.keep_columns is not None and self.input and not self.input_list:
            raise UsageError(
                f"--keep_columns {self.keep_columns} applies only to a list", "name the list with --input_list"
            )
        if self.beam_flags and not self.beam_flags[0].startswith("-") and self.input:
            raise UsageError(
                f"unexpected argument {self.beam_flags[0]}",
                "if the shell has expanded a pattern, put quotes around it, as in --input 'chips/*.jpg'",
            )
        if storage.join(self.output, "").startswith(storage.join(self.model, "")):
            raise UsageError(f"--output {self.output} is inside the model bundle", "choose another folder")
        if not self.input and not self.input_list:
            stray = "" if not self.beam_flags or self.beam_flags[0].startswith("-") else self.beam_flags[0]
            raise (
                mistyped(self.beam_flags, (f"--{field.name}" for field in fields(self)), sure=True)
                or (UsageError(f"unexpected argument {stray}", f"did you mean --input {stray}?") if stray else None)
                or UsageError("nothing to tag", "give --input PATTERN or --input_list FILE")
            )


def _may_be_below(pattern: str, folder: str) -> bool:
    """Return whether a pattern may name something below a folder, as far as the part before special characters says."""
    literal, *rest = re.split(r"[*?\[{]", pattern, maxsplit=1)
    with suppress(storage.UnsupportedStorageError):
        begins, within = storage.normalize(literal), storage.join(folder, "")
        return storage.join(begins, "").startswith(within) or (bool(rest) and within.startswith(begins))
    return True


def _check_path(flag: str, path: str | None) -> None:
    try:
        (path or "").encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{flag} {path!a} is not UTF-8, so it cannot be written into the output", "rename it"
        ) from error

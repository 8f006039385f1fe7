"""A Dockerfile read, and its steps done in folders, for there is no container engine where the tests run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests import ROOT

# What decides from where, and through what, packages come.
CONNECTION = re.compile(r"PIP_.*|HOME|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|(?i:https?_proxy|no_proxy)")


@dataclass(frozen=True)
class Copy:
    """A COPY.

    Attributes:
      stage: from which it copies; empty for the project.
      sources: what it copies.
      target: whereto.
    """

    stage: str
    sources: tuple[str, ...]
    target: str

    @classmethod
    def parse(cls, value: str) -> Copy:
        words = shlex.split(value)
        stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
        return cls(stage, tuple(words[:-1]), words[-1])


@dataclass(frozen=True)
class Stage:
    """A stage of the Dockerfile.

    Attributes:
      image: upon which it is built, with its tag.
      name: by which other stages know it; that of the last is "final".
      steps: its instructions, each with its value.
    """

    image: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]

    @property
    def commands(self) -> str:
        return "\n".join(self.values("RUN"))

    @property
    def copies(self) -> list[Copy]:
        return [Copy.parse(value) for value in self.values("COPY")]

    @property
    def files(self) -> set[str]:
        """Where the files are that it copies into folders."""
        return {copy.target + Path(source).name for copy in self.copies for source in copy.sources}


def read_stages() -> list[Stage]:
    """Read the project's Dockerfile."""
    stages: list[Stage] = []
    for part in DockerfileParser(str(ROOT)).structure:
        if part["instruction"] == "FROM":
            image, *alias = part["value"].split()
            stages.append(Stage(image, alias[-1] if alias else "final"))
        elif part["instruction"] != "COMMENT":
            stages[-1].steps.append((part["instruction"], part["value"]))
    return stages


def is_sent(path: Path) -> bool:
    """Return whether a file of the project reaches the engine: the last line of .dockerignore that names it decides."""
    sent = True
    names = [path.as_posix(), *(parent.as_posix() for parent in path.parents)]
    for line in (ROOT / ".dockerignore").read_text().split():
        if any(fnmatch(name, line.removeprefix("!")) for name in names):
            sent = line.startswith("!")
    return sent


def build(stages: list[Stage], root: Path) -> Path:
    """Do the steps of the stages upon Python, and return the folder that stands for the last.

    Each is done in the same folder, for scripts begin with the path of their Python, and then moved away. Stages upon
    other images are not at hand, nor is what comes from them.
    """
    *earlier, last = (stage for stage in stages if stage.image.startswith("python:"))
    image = root / "image"
    for stage in earlier:
        do_steps(stage, image)
        image.rename(root / stage.name)
    do_steps(last, image)
    return image


def do_steps(stage: Stage, image: Path) -> None:
    """Do the steps of a stage in a folder, where a virtual environment is the image's Python."""
    venv.create(image / "usr" / "local", with_pip=True)
    work = image
    for instruction, value in stage.steps:
        if instruction == "WORKDIR":
            work = within(image, value)
            work.mkdir(parents=True)
        elif instruction == "COPY":
            copy = Copy.parse(value)
            origin = image.parent / copy.stage if copy.stage else ROOT
            if origin.is_dir():
                do_copy(copy, origin, image, work)
        elif instruction == "RUN":
            done = run(moved(value, image), image, work, dict(text.split("=", 1) for text in stage.values("ARG")))
            assert done.returncode == 0, f"RUN {value}\n{done.stdout}{done.stderr}"


def do_copy(copy: Copy, origin: Path, image: Path, work: Path) -> None:
    target = within(image, copy.target) if copy.target.startswith("/") else work / copy.target
    for name in copy.sources:
        source = within(origin, name)
        if source.is_dir():
            # Links take neither time nor place; what is the project's own might be written to.
            link = os.link if copy.stage else shutil.copy2
            unsent = shutil.ignore_patterns("__pycache__") if not copy.stage else None
            shutil.copytree(source, target, copy_function=link, ignore=unsent, dirs_exist_ok=True)
        elif copy.target.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            shutil.copy2(source, target)


def within(folder: Path, path: str) -> Path:
    return folder / path.lstrip("/")


def moved(command: str, folder: Path) -> str:
    """Let absolute paths of a command begin at a folder, and its Python be the one that runs the tests."""
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return re.sub(r"python\d+\.\d+", own, re.sub(r"(?<=\s)/", f"{folder}/", command))


def run(
    command: str, image: Path, work: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with the programs of an image, and in no other environment than a build has."""
    connection = {name: value for name, value in os.environ.items() if CONNECTION.fullmatch(name)}
    path = f"{image}/usr/local/bin:/usr/bin:/bin"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=work,
        env=connection | {"PATH": path} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

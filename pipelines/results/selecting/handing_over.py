"""Hand selected images over to programs for review: FiftyOne and Label Studio import the JSON that is written here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.results.selecting.selection import Selection
from pipelines.results.sources import find_source, is_file

_SHOWN = "image"
_CHOICES = "tags"


class HandOverError(ScenetagsError):
    """Images that another program cannot open."""


class _Reviewed(NamedTuple):
    """An image to be reviewed.

    Attributes:
      path: of its file.
      tags: with their probabilities.
    """

    path: str
    tags: dict[str, float]


def write_fiftyone(selection: Selection, file: TextIO) -> int:
    """Write the labels of a `FiftyOneImageClassificationDataset` and the paths of its images; return their number.

    Raises:
      HandOverError: an image is no file of its own.
    """
    paths: dict[str, str] = {}
    file.write('{"labels": {')
    for image in _read(selection, "FiftyOne"):
        # FiftyOne cuts off what looks like the ending of a name.
        name = storage.digest_path(image.path).hex()
        labels = [{"label": tag, "confidence": probability} for tag, probability in image.tags.items()]
        file.write(f'{"," if paths else ""}\n"{name}": {json.dumps(labels)}')
        paths[name] = image.path
    file.write(f'\n}}, "paths": {json.dumps(paths, indent=0)}}}\n')
    return len(paths)


def write_label_studio(selection: Selection, file: TextIO) -> int:
    """Write tasks with predictions for Label Studio, and return their number.

    Raises:
      HandOverError: an image is no file of its own.
    """
    count = 0
    for count, image in enumerate(_read(selection, "Label Studio"), 1):
        file.write("[\n" if count == 1 else ",\n")
        file.write(json.dumps(_task(image, selection.footer.bundle)))
    file.write("\n]\n" if count else "[]\n")
    return count


def label_studio_interface(selection: Selection) -> str:
    """Return the labelling interface that the tasks are for, in Label Studio's XML."""
    choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in selection.footer.labels)
    return (
        f'<View><Image name="{_SHOWN}" value="${_SHOWN}"/>'
        f'<Choices name="{_CHOICES}" toName="{_SHOWN}" choice="multiple">{choices}</Choices></View>'
    )


def _task(image: _Reviewed, bundle: str) -> dict[str, Any]:
    result = {"from_name": _CHOICES, "to_name": _SHOWN, "type": "choices", "value": {"choices": list(image.tags)}}
    # Of the least sure tag: Label Studio sorts tasks by it.
    score = {"score": min(image.tags.values())} if image.tags else {}
    predicted = {"model_version": bundle[:12], **score, "result": [result] if image.tags else []}
    return {"data": {_SHOWN: _address(image.path)}, "predictions": [predicted]}


def _address(path: str) -> str:
    """Return where Label Studio finds an image: local files below the root of this machine."""
    return path if storage.is_remote(path) else f"/data/local-files/?d={quote(path.lstrip('/'))}"


def _read(selection: Selection, program: str) -> Iterator[_Reviewed]:
    columns = selection.footer.columns
    for batch in selection.read(["path", "tags", *columns.values()]):
        paths, tags = batch.column("path").to_pylist(), batch.column("tags").to_pylist()
        probabilities = {label: batch.column(column).to_pylist() for label, column in columns.items()}
        for row, (path, chosen) in enumerate(zip(paths, tags, strict=True)):
            if not is_file(path):
                raise HandOverError(
                    f"{path} is part of another file, which {program} cannot open",
                    "tag copies of members of archives (--copy_to); see windows with `scenetags map`",
                )
            yield _Reviewed(
                find_source(selection.whereabouts.whole(path)).path,
                {tag: round(probabilities[tag][row], 6) for tag in chosen},
            )

"""The labels that the user names, and the images on which an imported model is checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data import dataset
from model.data.dataset import Examples, spread
from model.data.listing import list_images
from model.foreign.original import ForeignError
from model.synthetic.chips import SIZE, draw_chip
from pipelines import labels

_MOST_CHECKED = 128
# Without labels, more would only add to what the images are known to look like.
_MOST_GIVEN = 1000
_DRAWN = 16


class Samples(NamedTuple):
    """Images on which a model is checked.

    Attributes:
      images: uint8 [N, S, S, 3]; from those of the user, evenly spaced.
      truth: bool [N, L], their labels; None if unknown.
      given: the images of the user, with targets for the L labels of the model and the U unknown ones, or for no label
        if there is no label file; None if there are no images.
      judged: bool [L], the labels of which it is known which images have them; None without a label file.
      unknown: U labels that images have and the model does not know.
      findings: problems with images and labels, and what was done about them.
    """

    images: NDArray[np.uint8]
    truth: NDArray[np.bool_] | None = None
    given: Examples | None = None
    judged: NDArray[np.bool_] | None = None
    unknown: tuple[str, ...] = ()
    findings: tuple[labels.Finding, ...] = ()


def read_names(path: Path) -> tuple[str, ...]:
    """Read the labels of a model: one per line, or a JSON list.

    Raises:
      ForeignError: the file is neither, or a label is missing or repeated.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except (OSError, ValueError, RecursionError) as error:
        raise ForeignError(f"--labels {path}: neither text in UTF-8 nor a JSON list") from error
    if not all(isinstance(name, str) for name in names):
        raise ForeignError(f"--labels {path}: its JSON is not a list of strings")
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if not names or "" in names:
        where = f"line {names.index('') + 1} is blank" if names else "it is empty"
        raise ForeignError(f"--labels {path}: {where}", "name a label for each output, in their order")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ForeignError(f"--labels {path}: {repeated[0]!r} occurs twice", "name each output differently")
    return tuple(names)


def draw_samples(image_size: int) -> Samples:
    """Draw chips by code, for a model whose images are not here."""
    from PIL import Image

    chips = [draw_chip(np.random.default_rng((0, number)), SIZE).pixels for number in range(_DRAWN)]
    resized = [np.asarray(Image.fromarray(chip).resize((image_size, image_size))) for chip in chips]
    return Samples(np.stack(resized))


def read_samples(folder: Path, label_file: Path | None, names: Sequence[str], image_size: int, cache: Path) -> Samples:
    """Read the user's images, and their labels if there is a file of them.

    Args:
      folder: of the images.
      label_file: of their labels; None if there is none.
      names: the labels of the model.
      image_size: S, in pixels.
      cache: an empty folder for the decoded images.

    Raises:
      LabelError: there are no images, or the label file cannot be used, or has none of the labels of the model.
      DatasetError: no image can be decoded.
    """
    files = list_images(str(folder))
    paths = list(files)
    if label_file is None:
        chosen = [paths[index] for index in spread(len(paths), _MOST_GIVEN)]
        decoded = dataset.decode({path: files[path] for path in chosen}, image_size, cache)
        unlabelled = Examples(decoded.pixels, decoded.readable, np.zeros((len(decoded.readable), 0), np.float32))
        return Samples(_some(unlabelled).pixels, given=unlabelled, findings=_unreadable(decoded))
    file = labels.read_labels(label_file, names, paths)
    matched = labels.match(file.rows, paths, str(folder))
    unjudged = labels.unmeasured(names, file)
    unknown = tuple(label for label in labels.vocabulary(matched.tags) if label not in names)
    decoded = dataset.decode({path: files[path] for path in matched.paths}, image_size, cache)
    truth = labels.multi_hot([matched.tags[index] for index in decoded.readable], (*names, *unknown))
    labelled = Examples(decoded.pixels, decoded.readable, truth)
    some = _some(labelled)
    return Samples(
        images=some.pixels,
        truth=some.targets[:, : len(names)] > 0,
        given=labelled,
        judged=~np.isin(names, unjudged.names),
        unknown=unknown,
        findings=(
            *file.findings,
            *matched.findings,
            *([unjudged] if unjudged.names else ()),
            *([labels.Finding("labels that the model does not know, counted as missed", unknown)] if unknown else ()),
            *_unreadable(decoded),
        ),
    )


def _some(examples: Examples) -> Examples:
    """Copy evenly spaced ones into memory."""
    chosen = spread(len(examples.rows), _MOST_CHECKED)
    some = examples.take(chosen)
    return Examples(np.asarray(some.pixels[some.rows]), np.arange(len(chosen)), some.targets)


def _unreadable(decoded: dataset.DecodedImages) -> tuple[labels.Finding, ...]:
    names = tuple(f"{Path(bad.path).name} ({bad.reason})" for bad in decoded.unreadable)
    return (labels.Finding("unreadable images, skipped", names),) if names else ()

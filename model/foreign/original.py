"""What a model made elsewhere is to the rest of this room, whatever its file is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from model.foreign.scaling import Scaling
from pipelines.errors import ScenetagsError, quantity

Activation = Literal["sigmoid", "softmax"]


class ForeignError(ScenetagsError):
    """A model that cannot be imported; the message is one line for the user."""


class Wanted(NamedTuple):
    """What the command line says of a model.

    Attributes:
      labels: number of labels.
      image_size: side of its images, in pixels; None if not given.
    """

    labels: int
    image_size: int | None


class Original(Protocol):
    """A model made elsewhere, opened.

    Attributes:
      format: of its file, for the model card.
      package: that runs it.
      image_size: side of its images, in pixels.
      scales_itself: what shows that it takes pixels as they are, or None if nothing does.
      input_range: the numbers that the integers of its input stand for; None if it takes floating-point numbers.
      activation: its last one, if its file says so; None if it is unknown.
      is_int8: whether it computes in int8.
    """

    format: str
    package: str
    image_size: int
    scales_itself: str | None
    input_range: tuple[float, float] | None
    activation: Activation | None
    is_int8: bool

    def answer(self, images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
        """Run it by its own framework, on pixels that are scaled outside of it.

        Takes images uint8 [N, S, S, 3]; returns its outputs, float32 [N, L].
        """
        ...

    def write(self, folder: Path, scaling: Scaling, *, sigmoid: bool) -> None:
        """Write the model files of a bundle, with the scaling in front and a sigmoid behind if wanted.

        Raises:
          ForeignError: they cannot be made from this model.
          OSError: they cannot be written.
        """
        ...


def find_image_size(model: str, shape: Sequence[int | None], wanted: Wanted) -> int:
    """Return the side of the images that a model takes.

    Args:
      model: its name, for messages.
      shape: of its input: batch, rows, columns, channels; None is free.
      wanted: what the command line says.

    Raises:
      ForeignError: it does not take square RGB images, or images of a different size.
    """
    shown = f"{model}: its input has the shape [{', '.join('?' if size is None else str(size) for size in shape)}]"
    if len(shape) != 4 or shape[3] != 3:
        raise ForeignError(
            f"{shown}, not that of RGB images",
            "only models of images whose last dimension is their three channels are imported",
        )
    _, rows, columns, _ = shape
    fixed = {size for size in (rows, columns) if size is not None}
    if len(fixed) > 1:
        raise ForeignError(f"{shown}, which is not square", "only models of square images are imported")
    if not fixed and wanted.image_size is None:
        raise ForeignError(f"{shown}: it takes images of any size", "add --image_size PX, as in its training")
    if fixed and wanted.image_size not in (None, *fixed):
        raise ForeignError(f"{shown}, which is not that of --image_size {wanted.image_size}", "omit --image_size")
    return int(next(iter(fixed), wanted.image_size or 0))


def find_output(model: str, shapes: Sequence[Sequence[int | None]], wanted: Wanted) -> int:
    """Return which of a model's outputs has a number for each label: an index in `shapes`.

    Raises:
      ForeignError: none has, or several do.
    """
    widths = [_width(shape) for shape in shapes]
    fitting = [index for index, width in enumerate(widths) if width == wanted.labels]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        found = " and ".join(
            "an unknown number of outputs" if width is None else quantity(width, "output") for width in widths
        )
        raise ForeignError(
            f"{model}: it has {found} per image, but --labels names {quantity(wanted.labels, 'label')}",
            "name a label for each output, in their order",
        )
    raise ForeignError(
        f"{model}: {len(fitting)} of its outputs have {quantity(wanted.labels, 'number')} per image",
        "export it with one output alone",
    )


def _width(shape: Sequence[int | None]) -> int | None:
    """Return the numbers per image of an output whose first axis is the batch; None if they are unknown."""
    width = 1
    for size in shape[1:]:
        if size is None:
            return None
        width *= size
    return width

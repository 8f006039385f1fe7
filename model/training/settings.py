"""The command line of `train`, checked before any data is read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from model.training import network
from pipelines.commandline.parser import Parser, UsageError, at_least, between
from pipelines.commandline.rasters import add_rasters, check_percentiles, read_rendering
from pipelines.errors import printable
from pipelines.images.rendering import NO_RENDERING, Rendering

Quantize = Literal["none", "int8"]

_FINETUNE_EPOCHS = 20
_SCRATCH_EPOCHS = 18
_DEFAULT = "(default: %(default)s)"

_DESCRIPTION = """\
Train a multi-label tagger on labelled images and export it as a bundle, the folder that `predict` takes as --model.

The labels are the tags found in the label file: a CSV file with the columns image_name,tags (tags separated by
spaces), or with one column of 0 and 1 per label. Problems are reported, and the affected rows skipped. Images are
decoded by the same code as in prediction, so that colours are repaired in the same way.

A share of the images is held out for validation, with each label about as frequent as in the rest. Training has two
phases: first the head alone, on the frozen network; then the whole network at a low learning rate, with its
BatchNormalization layers frozen. With --weights none there is a single phase of --finetune_epochs, in which the whole
network is trained from scratch. The exported weights are those of the last epoch within one standard error of the
best F2 on the held-out images (and not below the head alone). On the same images, probabilities are calibrated, so
that a label given 0.3 is there in about 3 of 10 images, and a threshold per label is tuned. A model card reports the
quality, and names the labels with too few images to be calibrated.

With --quantize int8 the network is rounded to 8-bit integers on export. The loss in quality is measured on the
held-out images and reported at the end and in the model card. The bundle then has no SavedModel.

To resume interrupted training, run the same command again. The state is kept in BUNDLE.training next to the bundle;
history.csv and the TensorBoard logs stay there when training has finished.
"""
_EPILOG = """\
examples:
  A small network from scratch, on synthetic chips; a minute or two on two cores:
    python -m model.synthetic --output chips --count 500 --seed 1
    scenetags train --images chips/jpg --labels chips/labels.csv --output bundles/demo \\
        --image_size 96 --alpha 0.35 --weights none --note "Trained on synthetic chips only."

  The Planet set, starting from ImageNet weights:
    scenetags train --images train-jpg --labels train_v2.csv --output bundles/planet

exit codes:
  0    done
  1    training diverged, the export failed its checks, or files could not be written; no bundle written
  2    wrong usage or unusable data, explained in one line; no bundle written
  130  interrupted by Ctrl-C; run the same command again to resume after the last finished epoch
"""


class Settings(NamedTuple):
    """What to train on, how, and where to write; `weights` is "imagenet", a file, or None to start from scratch."""

    images: Path
    labels: Path
    output: Path
    name: str
    note: str
    image_size: int
    alpha: float
    weights: str | Path | None
    quantize: Quantize
    head_epochs: int
    finetune_epochs: int
    batch_size: int
    validation_fraction: float
    seed: int
    rendering: Rendering = NO_RENDERING


def parse(argv: Sequence[str]) -> Settings:
    """Parse and check a command line; `--help` prints the help page and exits.

    Raises:
      UsageError: a flag is unknown, missing or has an unusable value.
    """
    flags = _parser().parse_args(argv)
    _check_output(flags.output)
    if not flags.images.is_dir():
        raise UsageError(f"argument --images: no folder at {flags.images}")
    if not flags.labels.is_file():
        raise UsageError(f"argument --labels: no file at {flags.labels}")
    if flags.weights == "imagenet" and flags.alpha not in network.IMAGENET_ALPHAS:
        alphas = ", ".join(map(str, network.IMAGENET_ALPHAS))
        raise UsageError(
            f"argument --alpha: there are no ImageNet weights for {flags.alpha:g}",
            f"use one of {alphas}, or --weights none or FILE",
        )
    output = flags.output.resolve()
    # A name that is not UTF-8 or has control characters would be refused after hours of training.
    name = printable((flags.name or output.name).encode("utf-8", "backslashreplace").decode())
    values = vars(flags) | {"name": name, "output": output}
    values["rendering"] = read_rendering(*(values.pop(flag) for flag in ("bands", "stretch", "product")))
    check_percentiles(values["rendering"], are_scenes_cut=False)
    if flags.weights is None:
        values["head_epochs"] = 0  # there is no trained network yet to put a head on
    if flags.finetune_epochs is None:
        values["finetune_epochs"] = _SCRATCH_EPOCHS if flags.weights is None else _FINETUNE_EPOCHS
    settings = Settings(**values)
    if settings.head_epochs + settings.finetune_epochs == 0:
        raise UsageError("argument --finetune_epochs: with 0 epochs there is nothing to train", "use at least 1")
    if settings.weights is None and settings.batch_size < 2:
        raise UsageError(
            "argument --batch_size: 1 is too small from scratch", "use at least 2, for BatchNormalization's statistics"
        )
    return settings


def _parser() -> Parser:
    parser = Parser("scenetags train", _DESCRIPTION, _EPILOG)
    where = parser.add_argument_group("data and output")
    where.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of images, searched recursively"
    )
    where.add_argument("--labels", type=Path, required=True, metavar="CSV", help="label file, see above")
    where.add_argument("--output", type=Path, required=True, metavar="BUNDLE", help="folder to create")
    where.add_argument("--name", default="", help="name of the model (default: the name of the output folder)")
    where.add_argument("--note", default="", metavar="TEXT", help="a sentence about the data, for the model card")

    add_rasters(parser, default="they are refused")
    net = parser.add_argument_group("network")
    size = at_least(network.MIN_IMAGE_SIZE, network.MAX_IMAGE_SIZE)
    net.add_argument("--image_size", type=size, default=224, metavar="PX", help=f"side of its input images {_DEFAULT}")
    net.add_argument(
        "--alpha", type=between(0.05, 4.0), default=1.0, help=f"width multiplier of MobileNetV2 {_DEFAULT}"
    )
    weights = f"initial weights: ImageNet's, downloaded by Keras; none; or a weights file without the head {_DEFAULT}"
    net.add_argument("--weights", type=_weights, default="imagenet", metavar="imagenet|none|FILE", help=weights)
    quantize = f"int8 halves prediction time on CPUs with VNNI, but is slower on most older ones; CPU only {_DEFAULT}"
    net.add_argument("--quantize", choices=get_args(Quantize), default="none", metavar="none|int8", help=quantize)

    how = parser.add_argument_group("training")
    head = f"epochs that train only the head {_DEFAULT}"
    epochs = f"epochs of the whole network (default: {_FINETUNE_EPOCHS}, or {_SCRATCH_EPOCHS} from scratch)"
    fraction = f"share of the images to hold out {_DEFAULT}"
    seed = f"random seed for the split, the initial weights and shuffling {_DEFAULT}"
    how.add_argument("--head_epochs", type=at_least(0), default=5, metavar="N", help=head)
    how.add_argument("--finetune_epochs", type=at_least(0), metavar="N", help=epochs)
    how.add_argument("--batch_size", type=at_least(1), default=32, metavar="N", help=f"images per step {_DEFAULT}")
    how.add_argument("--validation_fraction", type=between(0.01, 0.9), default=0.2, metavar="F", help=fraction)
    how.add_argument("--seed", type=at_least(0, 2**32 - 1), default=0, metavar="N", help=seed)
    return parser


def _check_output(output: Path) -> None:
    if "://" in str(output) or ":/" in str(output):
        raise UsageError(
            f"argument --output: {output} is not a local folder", "train into a local one, then copy the bundle"
        )
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"argument --output: {output} already exists", "remove it or choose another --output")
    parent = next(folder for folder in output.resolve().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise UsageError(f"argument --output: cannot write in {parent}", "choose a writable folder")


def _weights(text: str) -> str | Path | None:
    if text == "imagenet":
        return text
    if text == "none":
        return None
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not imagenet, none or an existing file")
    return Path(text)

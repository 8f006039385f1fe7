"""The command line of `train`, checked before anything is read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from model.training import network
from pipelines.commandline.parser import Parser, UsageError, at_least, between

Quantize = Literal["none", "int8"]

_FINETUNE_EPOCHS = 20
_SCRATCH_EPOCHS = 18

_DESCRIPTION = """\
Train a multi-label tagger on labelled images and export it as a bundle, the folder that `predict` takes as --model.

The labels are whatever tags the label file holds: a CSV file with the columns image_name,tags (tags separated by
spaces), or with a column of 0 and 1 for each label. What is amiss with it is told, and left out. Images are decoded
by the code that also predicts, so that colours are repaired in the same way here and there.

A share of the images is held out, with every label as frequent as in the rest. Training goes in two phases: first
the head alone, on the frozen network; then the whole network at a small learning rate, its BatchNormalization layers
kept as they are. With --weights none there is one phase of --finetune_epochs: the whole network, from scratch. What
is exported are the weights of the last epoch that is within one standard error of the best F2 on the held-out images
(and not below the head alone), with a threshold for each label tuned there, and a model card that says how good it is.

With --quantize int8 the network is rounded to integers of 8 bits when it is exported. What that costs in quality is
measured on the held-out images, and told at the end and in the model card. The bundle then holds no SavedModel.

An interrupted training goes on when the same command is given again. What it needs for that is in BUNDLE.training
beside the bundle; of it, history.csv and the logs for TensorBoard stay.
"""
_EPILOG = """\
examples:
  A small network from scratch, on chips drawn by code; a minute or two on two cores:
    python -m model.synthetic --output chips --count 500 --seed 1
    scenetags train --images chips/jpg --labels chips/labels.csv --output bundles/demo \\
        --image_size 96 --alpha 0.35 --weights none --note "Trained on synthetic chips only."

  The Planet set, from ImageNet weights:
    scenetags train --images train-jpg --labels train_v2.csv --output bundles/planet

exit codes:
  0    done
  1    training diverged, or the exported files did not agree with one another; no bundle written
  2    wrong usage or unusable data, in one line; no bundle written
  130  interrupted by Ctrl-C; the same command goes on after the last finished epoch
"""


class Settings(NamedTuple):
    """What to train on, how, and where to; `weights` is "imagenet", a file, or None to start from scratch."""

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


def parse(argv: Sequence[str]) -> Settings:
    """Read and check a command line; `--help` prints a page and exits.

    Raises:
      UsageError: a flag is unknown, missing or has a value that cannot work.
    """
    flags = _parser().parse_args(argv)
    _check_output(flags.output)
    if not flags.images.is_dir():
        raise UsageError(f"argument --images: no folder at {flags.images}")
    if not flags.labels.is_file():
        raise UsageError(f"argument --labels: no file at {flags.labels}")
    if flags.weights == "imagenet" and flags.alpha not in network.IMAGENET_ALPHAS:
        alphas = ", ".join(map(str, network.IMAGENET_ALPHAS))
        raise UsageError(f"argument --alpha: ImageNet weights exist for {alphas}, not for {flags.alpha:g}")
    output = flags.output.resolve()
    # A name that is not in UTF-8 could not be written into the card, after hours.
    name = (flags.name or output.name).encode("utf-8", "backslashreplace").decode()
    values = vars(flags) | {"name": name, "output": output}
    if flags.weights is None:
        values["head_epochs"] = 0  # nothing to put a head on yet
    if flags.finetune_epochs is None:
        values["finetune_epochs"] = _SCRATCH_EPOCHS if flags.weights is None else _FINETUNE_EPOCHS
    settings = Settings(**values)
    if settings.head_epochs + settings.finetune_epochs == 0:
        raise UsageError("argument --finetune_epochs: with no epoch at all there is nothing to train")
    if settings.weights is None and settings.batch_size < 2:
        raise UsageError("argument --batch_size: from scratch 2 is the least, for BatchNormalization compares images")
    return settings


def _parser() -> Parser:
    parser = Parser("scenetags train", _DESCRIPTION, _EPILOG)
    where = parser.add_argument_group("what to train on, and where to")
    where.add_argument("--images", type=Path, required=True, metavar="DIR", help="images, searched for recursively")
    where.add_argument("--labels", type=Path, required=True, metavar="CSV", help="label file, see above")
    where.add_argument("--output", type=Path, required=True, metavar="BUNDLE", help="folder to write, not there yet")
    where.add_argument("--name", default="", help="what to call the model (default: the name of the output folder)")
    where.add_argument("--note", default="", metavar="TEXT", help="a sentence about the data, for the model card")

    net = parser.add_argument_group("the network")
    size = at_least(network.MIN_IMAGE_SIZE, network.MAX_IMAGE_SIZE)
    net.add_argument("--image_size", type=size, default=224, metavar="PX", help="side of what it sees (default: 224)")
    net.add_argument("--alpha", type=between(0.05, 4.0), default=1.0, help="width of MobileNetV2 (default: 1.0)")
    weights = "ImageNet weights that Keras downloads, none, or a file of weights without top (default: imagenet)"
    net.add_argument("--weights", type=_weights, default="imagenet", metavar="imagenet|none|FILE", help=weights)
    quantize = "int8: half the time an image on CPUs with VNNI, slower on most older ones, no GPU (default: none)"
    net.add_argument("--quantize", choices=get_args(Quantize), default="none", metavar="none|int8", help=quantize)

    how = parser.add_argument_group("how to train")
    epochs = f"epochs of the whole network (default: {_FINETUNE_EPOCHS}, or {_SCRATCH_EPOCHS} from scratch)"
    fraction = between(0.01, 0.9)
    how.add_argument("--head_epochs", type=at_least(0), default=5, metavar="N", help="of the head alone (default: 5)")
    how.add_argument("--finetune_epochs", type=at_least(0), metavar="N", help=epochs)
    how.add_argument("--batch_size", type=at_least(1), default=32, metavar="N", help="images a step (default: 32)")
    how.add_argument("--validation_fraction", type=fraction, default=0.2, metavar="F", help="held out (default: 0.2)")
    how.add_argument(
        "--seed", type=at_least(0, 2**32 - 1), default=0, metavar="N", help="of split, weights, order (default: 0)"
    )
    return parser


def _check_output(output: Path) -> None:
    if "://" in str(output) or ":/" in str(output):
        raise UsageError(f"argument --output: {output} is not a local folder; train here, then copy the bundle")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"argument --output: {output} exists already; remove it or name another")
    parent = next(folder for folder in output.resolve().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise UsageError(f"argument --output: cannot write below {parent}")


def _weights(text: str) -> str | Path | None:
    if text == "imagenet":
        return text
    if text == "none":
        return None
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is neither imagenet nor none nor a file")
    return Path(text)

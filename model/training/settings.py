"""The command line of `train`, checked before any data is read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from model.data import Augment
from model.export.place import check_output, output_folder
from model.quality.fbeta import add_beta
from model.training import network
from model.training.losses import Loss
from model.training.split_flags import MOST_FINAL_EPOCHS, add_split, read_final_epochs, read_fraction
from pipelines.commandline.labels import add_labels, read_label_source
from pipelines.commandline.numbers import at_least, between
from pipelines.commandline.parser import Parser, UsageError, add_switch
from pipelines.commandline.rasters import add_rasters, check_percentiles, read_rendering
from pipelines.errors import printable
from pipelines.images.limits import FITS
from pipelines.images.rendering import NO_RENDERING, Rendering

if TYPE_CHECKING:
    from pipelines.inference.bundle import Bundle
    from pipelines.labels import LabelSource

Quantize = Literal["none", "int8"]

_IMAGE_SIZE = 224
_ALPHA = 1.0
_LEAST_ALPHA, _MOST_ALPHA = 0.05, 4.0
_FILTER = "bilinear16"
_FINETUNE_EPOCHS = 14
_SCRATCH_EPOCHS = 18
_DEFAULT = "(default: %(default)s)"

_DESCRIPTION = """\
Train a multi-label tagger on labelled images and export it as a bundle, the folder that `predict` takes as --model.

The labels are the tags found in the label files: tables with a column of tags, or with one column of 0 and 1 per
label, or files of other layouts. Problems are reported, and the rows affected are skipped. Images are decoded by the
same code as in prediction, so that colours are repaired in the same way.

A share of the images is held out for validation, with each label about as frequent as in the rest; groups of images can
be kept together, or you can say which images to hold out. Identical images stay together, and copies on both sides are
reported. Weaknesses of the training set, such as a label on every image, are reported as cautions, in the output and in
the model card.

Training has three phases:
  1. The head alone is trained, on the frozen network.
  2. The whole network is trained at a low learning rate, with its BatchNormalization layers frozen and its weights
     averaged.
  3. After everything has been measured, the network is also trained on the held-out images, for --final_epochs.
The weights used are those of the last epoch whose F2 on the held-out images, or the score that --beta chooses, is
within one standard error of the best, and no lower than that of the head alone; while training runs, such an epoch is
marked (kept). On the same images, probabilities are calibrated, so that a label with a probability of 0.3 is present in
about 3 of 10 images, and a threshold is tuned for each label. All figures are from before the third phase. With
--weights none there is a single phase of --finetune_epochs, in which the whole network is trained from scratch. The
model card reports the quality. It lists the labels with too few images to calibrate, and those that the model assigned
to no held-out image.

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

  Photos from another machine, with differently named columns, and label files of several years:
    scenetags train --images photos --labels 2024.csv --labels 2025.csv.gz --image_column Photo --tags_column Seen \\
        --output bundles/photos

  Images in folders named after their labels:
    scenetags train --images scenes --labels folders --output bundles/scenes

  Where a false tag is as bad as a missed one, with a loss for rare labels:
    scenetags train --images train-jpg --labels train_v2.csv --loss weighted --beta 1 --output bundles/rare

  Chips of one scene on the same side of the split, starting from a network that was trained before:
    scenetags train --images chips --labels labels.csv --group_pattern '(scene_[0-9]+)_' --weights bundles/planet \\
        --output bundles/planet2

exit codes:
  0    done
  1    training diverged, the export failed its checks, or files could not be written; no bundle written
  2    wrong usage or unusable data, explained in one line; no bundle written
  130  interrupted by Ctrl-C; run the same command again to resume after the last finished epoch
"""


class Settings(NamedTuple):
    """What to train on, how, and where to write.

    `weights` is "imagenet", a file, a bundle, or None to start from scratch; `validation_fraction` is None if
    `split_column` or `validation_labels` says which images to hold out.
    """

    images: str
    labels: LabelSource
    output: Path
    name: str
    note: str
    image_size: int
    alpha: float
    weights: str | Path | Bundle | None
    fit: str
    quantize: Quantize
    head_epochs: int
    finetune_epochs: int
    final_epochs: int
    batch_size: int
    validation_fraction: float | None
    split_column: str
    validation_labels: str
    group_column: str
    group_pattern: str
    seed: int
    augment: Augment
    loss: Loss
    beta: float
    max_minutes: float | None
    anonymous: bool = False
    rendering: Rendering = NO_RENDERING

    @property
    def resize_filter(self) -> str:
        """How images become squares of the network's size: one of `images.limits.RESIZINGS`."""
        return _FILTER if self.fit == "squash" else f"{_FILTER}+{self.fit}"


def parse(argv: Sequence[str]) -> Settings:
    """Parse and check a command line, and set how buckets are accessed; `--help` prints the help page and exits.

    Raises:
      UsageError: a flag is unknown, missing or has an unusable value.
    """
    flags = _parser().parse_args(argv)
    # Imported here: it would make `--help` slow.
    from pipelines import storage
    from pipelines.labels import FOLDERS

    # Before a bundle in --weights is loaded.
    storage.use(storage.Access(anonymous=flags.anonymous))
    check_output(flags.output)
    images = storage.normalize(flags.images)
    if not storage.is_remote(images) and not os.path.isdir(images):
        raise UsageError(f"--images: no folder at {flags.images}")
    named = [("labels", path) for path in flags.labels if path != FOLDERS]
    for flag, path in (*named, ("validation_labels", flags.validation_labels)):
        if path and not (storage.is_remote(path) or os.path.exists(storage.plain(path))):
            raise UsageError(f"--{flag}: no file at {path}")
    values = vars(flags)
    values["rendering"] = read_rendering(*(values.pop(flag) for flag in ("bands", "stretch", "product")))
    _take_from_bundle(flags)
    if flags.weights == "imagenet" and flags.alpha not in network.IMAGENET_ALPHAS:
        alphas = ", ".join(map(str, network.IMAGENET_ALPHAS))
        raise UsageError(
            f"--alpha: there are no ImageNet weights for {flags.alpha:g}",
            f"use one of {alphas}, or other --weights",
        )
    output = flags.output.resolve()
    # A name that is not UTF-8 or has control characters would be refused after hours of training.
    name = printable((flags.name or output.name).encode("utf-8", "backslashreplace").decode())
    values = {"labels": read_label_source(flags)} | vars(flags) | {"name": name, "output": output, "images": images}
    check_percentiles(values["rendering"], are_scenes_cut=False)
    if flags.weights is None:
        values["head_epochs"] = 0  # there is no trained network yet to put a head on
    if flags.finetune_epochs is None:
        values["finetune_epochs"] = _SCRATCH_EPOCHS if flags.weights is None else _FINETUNE_EPOCHS
    values["validation_fraction"] = read_fraction(flags)
    values["final_epochs"] = read_final_epochs(flags, values["finetune_epochs"])
    settings = Settings(**values)
    if settings.head_epochs + settings.finetune_epochs == 0:
        raise UsageError("--finetune_epochs: with 0 epochs there is nothing to train", "use at least 1")
    if settings.weights is None and settings.batch_size < 2:
        raise UsageError(
            "--batch_size: 1 is too small from scratch", "use at least 2, for BatchNormalization's statistics"
        )
    return settings


def _parser() -> Parser:
    parser = Parser("scenetags train", _DESCRIPTION, _EPILOG)
    where = parser.add_argument_group("data and output")
    where.add_argument(
        "--images", required=True, metavar="DIR", help="folder of images, local or in a bucket, searched recursively"
    )
    add_switch(where, "--anonymous", "read public buckets without credentials")
    where.add_argument("--output", type=output_folder, required=True, metavar="BUNDLE", help="folder to create")
    where.add_argument("--name", default="", help="name of the model (default: the name of the output folder)")
    where.add_argument("--note", default="", metavar="TEXT", help="a sentence about the data, for the model card")
    add_labels(parser, "what the images show")
    add_rasters(parser, default="they are refused")
    _add_network(parser)
    add_split(parser)
    _add_training(parser)
    return parser


def _add_network(parser: Parser) -> None:
    net = parser.add_argument_group("network")
    size = at_least(network.MIN_IMAGE_SIZE, network.MAX_IMAGE_SIZE)
    side = f"side of the network's input images (default: {_IMAGE_SIZE}, or that of the bundle in --weights)"
    width = f"width multiplier of MobileNetV2 (default: {_ALPHA:g}, or that of the bundle in --weights)"
    weights = (
        "initial weights: ImageNet's, downloaded by Keras; none; a weights file without the head; or a bundle of your "
        f"own: labels in both keep their part of the head, and no image that it has learnt is held out {_DEFAULT}"
    )
    fit = (
        "how an image that is not square is made square, also in prediction: squash distorts it, crop takes its "
        "middle, pad adds grey margins (default: squash, or that of the bundle in --weights)"
    )
    net.add_argument("--fit", choices=FITS, help=fit)
    net.add_argument("--image_size", type=size, metavar="PX", help=side)
    net.add_argument("--alpha", type=between(_LEAST_ALPHA, _MOST_ALPHA), help=width)
    net.add_argument("--weights", type=_weights, default="imagenet", metavar="imagenet|none|FILE|BUNDLE", help=weights)
    quantize = f"int8 halves prediction time on CPUs with VNNI, but is slower on most older ones; CPU only {_DEFAULT}"
    net.add_argument("--quantize", choices=get_args(Quantize), default="none", metavar="none|int8", help=quantize)


def _add_training(parser: Parser) -> None:
    how = parser.add_argument_group("training")
    head = f"epochs that train only the head {_DEFAULT}"
    epochs = f"epochs that train the whole network (default: {_FINETUNE_EPOCHS}, or {_SCRATCH_EPOCHS} from scratch)"
    final = (
        "epochs at the end that also train on the held-out images; use 0 to keep these for later measurements "
        f"(default: a third of --finetune_epochs, at most {MOST_FINAL_EPOCHS}; 0 from scratch, or where you choose the "
        "held-out images; refused with --quantize int8)"
    )
    seed = f"random seed for the split, the initial weights and shuffling {_DEFAULT}"
    how.add_argument("--head_epochs", type=at_least(0), default=5, metavar="N", help=head)
    how.add_argument("--finetune_epochs", type=at_least(0), metavar="N", help=epochs)
    how.add_argument("--final_epochs", type=at_least(0), metavar="N", help=final)
    how.add_argument("--batch_size", type=at_least(1), default=32, metavar="N", help=f"images per step {_DEFAULT}")
    augment = (
        "how training images are varied: turned and mirrored in all 8 orientations, for images from above; mirrored "
        "left to right, for pictures with a top; or not at all. With the first two, they are also cropped and relit "
        f"{_DEFAULT}"
    )
    minutes = (
        "stop before an epoch that would end more than N minutes after the start, and export the best weights so far. "
        "If you know in advance how long training may take, reduce --finetune_epochs instead: the learning rate then "
        "falls all the way"
    )
    how.add_argument("--augment", choices=get_args(Augment), default="orientations", help=augment)
    loss = (
        "what is minimized. bce: binary cross-entropy; weighted: the same, with images that have a rare label weighted "
        "up to tenfold; asymmetric: a loss to which images that evidently lack a label contribute little. The last two "
        f"are for rare labels; where they were tried, F2 was no better {_DEFAULT}"
    )
    how.add_argument("--loss", choices=get_args(Loss), default="bce", help=loss)
    add_beta(how, "choose the epoch and the thresholds, and measure,")
    how.add_argument("--max_minutes", type=between(0.01, 1e6), metavar="N", help=minutes)
    how.add_argument("--seed", type=at_least(0, 2**32 - 1), default=0, metavar="N", help=seed)


def _take_from_bundle(flags: argparse.Namespace) -> None:
    """Load the bundle to start from, if any, and set what the user leaves to it.

    Raises:
      BundleError: it cannot be used.
      UsageError: the user wants a network of another width.
    """
    size, alpha, fit = _IMAGE_SIZE, _ALPHA, "squash"
    if isinstance(flags.weights, str) and flags.weights != "imagenet":
        from pipelines.inference.bundle import load_bundle

        flags.weights = load_bundle(flags.weights)
        size, alpha = flags.weights.image_size, flags.weights.training.get("alpha")
        if not isinstance(alpha, float) or not _LEAST_ALPHA <= alpha <= _MOST_ALPHA:
            raise UsageError(f"--weights: {flags.weights.path} was not trained by this program", "use another")
        fit = flags.weights.resize_filter.partition("+")[2] or fit
        if flags.alpha not in (None, alpha):
            raise UsageError(f"--alpha: the bundle in --weights has alpha {alpha:g}", "omit --alpha")
        flags.rendering = flags.rendering or flags.weights.rendering
    flags.image_size, flags.alpha, flags.fit = flags.image_size or size, flags.alpha or alpha, flags.fit or fit


def _weights(text: str) -> str | Path | None:
    if text == "imagenet":
        return text
    if text == "none":
        return None
    if "://" in text or Path(text).is_dir():
        return text
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not imagenet, none, an existing file or a bundle")
    return Path(text)

"""The command line of `import`, checked before the model is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from model.export.place import check_output, output_folder
from model.foreign.scaling import Scaling
from model.quality.fbeta import add_beta
from pipelines.commandline.numbers import at_least
from pipelines.commandline.parser import Parser, UsageError

OutputKind = Literal["probabilities", "logits"]

_DESCRIPTION = """\
Make a bundle, the folder that `predict` takes as --model, from a model that was trained elsewhere.

  MODEL                        is
  .keras, .h5                  a model saved by Keras 3, or by Keras 2 as HDF5
  a folder with saved_model.pb a SavedModel, of model.export() of Keras 3, model.save() of Keras 2 or tf.saved_model
  .tflite                      a LiteRT (TensorFlow Lite) file, in float32 or int8
  .onnx                        an ONNX file, e.g. of torch.onnx.export(); needs the extra onnx

The model must take one square RGB image, and return one number per label. Its input may be floating-point numbers or
uint8, of a fixed size or of any size, with channels last; in ONNX, channels may also come first.

Nothing is guessed. You must give what the file does not show: which label each output stands for (--labels), how the
pixels were scaled in training (--scaling), and whether the outputs are probabilities already (--output_kind). You can
omit what the file shows; a flag that contradicts the file is refused. Scaling and sigmoid become part of the bundle's
graph. The bundle must give the same probabilities as the original, run by its own framework, within 0.0001.

With --images, these images are used to check the bundle, and a warning says if the scaling is probably wrong: if the
probabilities hardly differ from image to image, or another scaling suits the model much better. With --labels_csv,
thresholds are tuned on these images, the model card reports how good the model is on them, and a warning says if the
labels seem to be in another order than the outputs. Without --images, chips drawn by code are used for the check.

Nothing in the file is run: pickles, Lambda layers, custom layers and custom operations are refused by name.
"""
_EPILOG = """\
--scaling:
  unit       0 to 1: pixels / 255
  symmetric  -1 to 1: pixels / 127.5 - 1, as keras.applications.mobilenet_v2.preprocess_input does
  imagenet   ImageNet's means and standard deviations per channel, as torchvision does
  none       0 to 255, or the model scales them itself

examples:
  A Keras model that was trained on pixels / 255:
    scenetags import amazon.keras --labels labels.txt --scaling unit --output bundles/amazon

  The same, with thresholds tuned and quality measured on labelled images:
    scenetags import amazon.keras --labels labels.txt --scaling unit --output bundles/amazon \\
        --images chips --labels_csv chips.csv

  A PyTorch model that returns logits:
    scenetags import amazon.onnx --labels labels.json --scaling imagenet --output_kind logits --output bundles/amazon

exit codes:
  0    done
  1    the bundle differs from the original, or cannot be written; no bundle written
  2    wrong usage or a model that cannot be used, explained in one line; no bundle written
  130  interrupted by Ctrl-C
"""


class Settings(NamedTuple):
    """What to import, what its file does not say, and where to write; None is what was not given."""

    model: Path
    labels: Path
    output: Path
    name: str
    scaling: Scaling | None
    output_kind: OutputKind | None
    image_size: int | None
    thresholds: str | None
    images: Path | None
    labels_csv: Path | None
    beta: float


def parse(argv: Sequence[str]) -> Settings:
    """Parse and check a command line; `--help` prints the help page and exits.

    Raises:
      UsageError: a flag is unknown, missing or has an unusable value.
    """
    flags = _parser().parse_args(argv)
    check_output(flags.output)
    if not flags.model.exists():
        raise UsageError(f"MODEL: nothing at {flags.model}")
    for flag in ("labels", "labels_csv"):
        path = getattr(flags, flag)
        if path is not None and not path.is_file():
            raise UsageError(f"--{flag}: no file at {path}")
    if flags.images is not None and not flags.images.is_dir():
        raise UsageError(f"--images: no folder at {flags.images}")
    if flags.labels_csv is not None and flags.images is None:
        raise UsageError("--labels_csv: it labels the images of --images", "add --images DIR")
    output = flags.output.resolve()
    name = (flags.name or output.name).encode("utf-8", "backslashreplace").decode()
    return Settings(**vars(flags) | {"name": name, "output": output})


def _parser() -> Parser:
    parser = Parser("scenetags import", _DESCRIPTION, _EPILOG)
    parser.add_argument("model", type=Path, metavar="MODEL", help="file or folder of the model, see above")
    names = "the labels in the order of the outputs: a text file with one per line, or a JSON list"
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help=names)
    parser.add_argument("--output", type=output_folder, required=True, metavar="BUNDLE", help="folder to create")
    parser.add_argument("--name", default="", help="name of the model (default: the name of the output folder)")

    silent = parser.add_argument_group("what the file may not say")
    scaling = "how pixels were scaled in training, see below"
    silent.add_argument("--scaling", choices=get_args(Scaling), metavar="|".join(get_args(Scaling)), help=scaling)
    kind = "what the model returns; logits get a sigmoid"
    kinds = get_args(OutputKind)
    silent.add_argument("--output_kind", choices=kinds, metavar="|".join(kinds), help=kind)
    size = "side of its images, if it takes any size"
    silent.add_argument("--image_size", type=at_least(1, 2048), metavar="PX", help=size)

    good = parser.add_argument_group("thresholds and quality")
    thresholds = "one for all labels, or a JSON file: an object with a number for each label (default: tuned with " + (
        "--labels_csv, otherwise 0.5)"
    )
    good.add_argument("--thresholds", metavar="FILE|VALUE", help=thresholds)
    images = "images like those of its training, searched recursively"
    good.add_argument("--images", type=Path, metavar="DIR", help=images)
    csv = "label file of these images: image_name,tags or one column per label"
    good.add_argument("--labels_csv", type=Path, metavar="CSV", help=csv)
    add_beta(good, "with --labels_csv, tune thresholds and measure")
    return parser

"""Turn labelled images into training batches: decode once into a cache, then read, vary and batch from it.

Images are decoded by the same code as in prediction. After that, a batch is a copy from one array on disk: the network
never waits for decoding, and an interrupted training finds its images decoded when it resumes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data import Augment, augmentation
from model.data.learnt import digest_file
from model.data.listing import fingerprint
from pipelines import images, storage
from pipelines.errors import ScenetagsError, quantity
from pipelines.images.limits import Limits
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.supervision.machine import available_cores

RESIZE_FILTER = "bilinear16"

_PIXELS = "pixels.npy"
_DIGESTS = "digests.npy"
_OUTCOME = "decoded.json"
# Images read from a bucket at a time: each waits for its request.
_REQUESTS = 32


class DatasetError(ScenetagsError):
    """Images that cannot be trained on; the message is one line for the user."""


class Unreadable(NamedTuple):
    """An image that could not be decoded, and why."""

    path: str
    reason: str


class DecodedImages(NamedTuple):
    """The result of decoding a list of images.

    Attributes:
      pixels: uint8 [M, S, S, 3], one image per entry of the list; mapped from the cache, undefined if unreadable.
      readable: int64 [N]; indices in the list of the images that could be decoded.
      digests: uint64 [M], of the file of each image; undefined if it could not be read.
      side: the median of the shorter sides of the images as they were decoded, in pixels.
      repairs: number of images per repair of `images.decode`.
      unreadable: the other images.
    """

    pixels: NDArray[np.uint8]
    readable: NDArray[np.int64]
    digests: NDArray[np.uint64]
    side: int
    repairs: dict[str, int]
    unreadable: tuple[Unreadable, ...]


class Examples(NamedTuple):
    """Labelled images of one size.

    Attributes:
      pixels: uint8 [M, S, S, 3]; may be mapped from a file larger than memory.
      rows: int64 [N]; indices in `pixels` of the examples, in order.
      targets: float32 [N, L]; 1.0 if example n has label l, else 0.0.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    targets: NDArray[np.float32]

    def take(self, indices: NDArray[np.int64]) -> Examples:
        """Return the examples at these indices, without copying pixels."""
        return Examples(self.pixels, self.rows[indices], self.targets[indices])


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return evenly spaced indices below a count, int64 [at most `most`], in order."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def decode(
    files: Mapping[str, str],
    image_size: int,
    folder: Path,
    rendering: Rendering = NO_RENDERING,
    resize_filter: str = RESIZE_FILTER,
) -> DecodedImages:
    """Decode, repair and resize images into a cache, or find them there.

    Args:
      files: the paths of the images, each with its version.
      image_size: S, in pixels; images become squares of this side.
      folder: the cache; created if missing.
      rendering: how rasters become pictures.
      resize_filter: one of `images.limits.RESIZINGS`.

    Raises:
      DatasetError: the disk is too small for the cache, no image could be decoded, or one cannot be read now.
    """
    paths = tuple(files)
    identity = f"{fingerprint(files)} {image_size} {resize_filter} {json.dumps(rendering)}"
    shape = (len(paths), image_size, image_size, 3)
    outcome = _read_outcome(folder, identity, shape)
    if outcome is None:
        (folder / _OUTCOME).unlink(missing_ok=True)  # before the pixels it describes are overwritten
        outcome = _decode_all(
            paths, shape, folder, images.DecodeSettings(image_size, resize_filter, rendering=rendering)
        )
        _check_readable(outcome["unreadable"], len(paths))
        storage.write(str(folder / _OUTCOME), json.dumps({"identity": identity, **outcome}).encode())
    unreadable = tuple(Unreadable(*pair) for pair in outcome["unreadable"])
    lost = {bad.path for bad in unreadable}
    readable = np.array([i for i, path in enumerate(paths) if path not in lost], np.int64)
    pixels = np.load(folder / _PIXELS, mmap_mode="r", allow_pickle=False)
    digests = np.load(folder / _DIGESTS)
    return DecodedImages(pixels, readable, digests, outcome["side"], outcome["repairs"], unreadable)


def is_decoded(folder: Path) -> bool:
    """Return whether a cache holds decoded images."""
    return (folder / _OUTCOME).exists()


def batches(examples: Examples, batch_size: int) -> Any:
    """Return a `tf.data.Dataset` of (pixels uint8 [B, S, S, 3], targets float32 [B, L]), in order and unvaried."""

    def gather(start: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        chosen = slice(start, start + batch_size)
        return examples.pixels[examples.rows[chosen]], examples.targets[chosen]

    return _stream(gather, examples, range(0, len(examples.rows), batch_size))


def training_batches(
    examples: Examples, batch_size: int, *, seed: int, epochs: Sequence[int], augment: Augment = "orientations"
) -> Any:
    """Return a `tf.data.Dataset` like that of `batches` for some epochs: shuffled, and each image varied.

    Images vary at random, as `augment` says. The content of an epoch depends only on `seed` and its number, so that
    resumed training sees what it would have seen without the interruption.
    """
    starts = range(0, len(examples.rows), batch_size)

    def gather(number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        epoch, step = divmod(int(number), len(starts))
        chosen = _order(len(examples.rows), seed, epochs[epoch])[starts[step] : starts[step] + batch_size]
        rng = np.random.default_rng((seed, epochs[epoch], step))
        pixels = examples.pixels[examples.rows[chosen]]
        return np.stack([augmentation.vary(image, rng, augment) for image in pixels]), examples.targets[chosen]

    return _stream(gather, examples, range(len(starts) * len(epochs)))


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def _stream(
    gather: Callable[[int], tuple[NDArray[np.uint8], NDArray[np.float32]]], examples: Examples, numbers: range
) -> Any:
    import tensorflow as tf

    def batch(number: Any) -> tuple[Any, Any]:
        pixels, targets = tf.numpy_function(gather, [number], (tf.uint8, tf.float32), stateful=False)
        pixels.set_shape((None, *examples.pixels.shape[1:]))
        targets.set_shape((None, examples.targets.shape[1]))
        return pixels, targets

    # Numbers through a map: with `from_generator` (and Keras' PyDataset, which uses it) TensorFlow frees its memory
    # after every step, and the page faults made an epoch two to four times slower.
    dataset = tf.data.Dataset.range(numbers.start, numbers.stop, numbers.step)
    return dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _decode_all(
    paths: Sequence[str], shape: tuple[int, int, int, int], folder: Path, settings: images.DecodeSettings
) -> dict[str, Any]:
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    (folder / _PIXELS).unlink(missing_ok=True)
    _check_space(folder, int(np.prod(shape, dtype=object)), len(paths))
    pixels = np.lib.format.open_memmap(folder / _PIXELS, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        # Otherwise a disk that fills up in the meantime would kill the process without a message.
        with (folder / _PIXELS).open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)

    digests, sides = np.zeros(len(paths), np.uint64), np.zeros(len(paths), np.int64)
    cores = available_cores()
    # As many as read at a time would take gigabytes: a decoded image may have 64 million pixels.
    decoders = BoundedSemaphore(cores)

    def read(index: int) -> tuple[str, ...] | Unreadable:
        try:
            data = storage.read(paths[index], Limits().max_bytes)
            with decoders:
                decoded = images.decode_resized(data, settings)
        except storage.TransientError as error:
            # Otherwise an outage would leave images out of the training.
            raise DatasetError(f"{paths[index]}: {storage.reason_of(error)}") from error
        except (images.ImageError, OSError) as error:
            return Unreadable(paths[index], str(error))
        pixels[index], sides[index] = decoded.pixels, min(decoded.width, decoded.height)
        digests[index] = digest_file(data)
        return decoded.repairs

    repairs: Counter[str] = Counter()
    unreadable = []
    threads = _REQUESTS if storage.is_remote(paths[0]) else cores
    with ThreadPoolExecutor(threads) as pool:
        outcomes = pool.map(read, range(len(paths)))
        for outcome in tqdm(outcomes, "decoding", total=len(paths), unit="image", disable=None, leave=False):
            if isinstance(outcome, Unreadable):
                unreadable.append(outcome)
            else:
                repairs.update(outcome)
    pixels.flush()
    np.save(folder / _DIGESTS, digests)
    side = int(np.median(sides[sides > 0])) if sides.any() else 0
    return {"side": side, "repairs": dict(sorted(repairs.items())), "unreadable": unreadable}


def _check_readable(unreadable: Sequence[Unreadable], count: int) -> None:
    if len(unreadable) == count:
        raise DatasetError(
            f"none of {quantity(count, 'image')} can be decoded, e.g. {unreadable[0].path}: {unreadable[0].reason}",
            "check that --images is the right folder",
        )


def _check_space(folder: Path, needed: int, count: int) -> None:
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DatasetError(
            f"{existing}: {quantity(count, 'decoded image needs', 'decoded images need')} {needed / 1e6:,.0f} MB "
            f"during training, but only {free / 1e6:,.0f} MB are free",
            "choose a smaller --image_size, or an --output on a larger disk",
        )


def _read_outcome(folder: Path, identity: str, shape: tuple[int, int, int, int]) -> dict[str, Any] | None:
    """Return the cached result of decoding the same images, if pixels and digests are still there; else None."""
    try:
        outcome: dict[str, Any] = json.loads((folder / _OUTCOME).read_text())
        pixels = np.load(folder / _PIXELS, mmap_mode="r", allow_pickle=False)
        digests = np.load(folder / _DIGESTS, allow_pickle=False)
    except (OSError, ValueError):
        return None
    same = (
        outcome.get("identity") == identity and "side" in outcome and pixels.shape == shape and pixels.dtype == np.uint8
    )
    same = same and digests.shape == shape[:1] and digests.dtype == np.uint64
    return outcome if same else None

"""tf.data with Keras: `model.predict` with the SavedModel in a `TFSMLayer`, Keras 3's way to load one.

Also tried: batches of 16 and of 64, no faster.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from benchmarks.peers.job import load_model, parse_job, write_rows

BATCH = 32


def main() -> None:
    """Run the job."""
    job = parse_job()
    model = load_model(job.bundle)
    shape = (model.decoding.image_size, model.decoding.image_size, 3)

    def decode(data: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(model.decode, [data], tf.uint8), shape)

    images = (
        tf.data.Dataset.from_tensor_slices(job.paths)
        .map(tf.io.read_file, num_parallel_calls=tf.data.AUTOTUNE)
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )
    layer = keras.layers.TFSMLayer(model.saved_model, call_endpoint="serve")
    network = keras.Sequential([keras.Input(shape, dtype="uint8"), layer])
    probabilities = network.predict(images, verbose=0)
    write_rows(job, model, probabilities)


if __name__ == "__main__":
    main()

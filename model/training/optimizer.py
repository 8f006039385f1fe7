"""The optimizer of a phase: its learning rate over the steps, and the averages of the weights that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from model.training import network
from model.training.phases import Phase

# Share of a phase in which the learning rate rises to its peak: the first steps would otherwise undo earlier learning.
WARM_UP = 0.1
# Share of fine-tuning over which weights are averaged, as an exponential moving average; docs/training.md has what it
# gained on real chips. With 0.15 and 0.4 the gain was the same; the larger it is, the more of a short phase's beginning
# stays in the average.
AVERAGED = 0.3


def compile_for(phase: Phase, model: Any, loss: Callable[[Any, Any], Any], steps: int) -> None:
    """Prepare a network for the steps of a phase.

    Args:
      phase: which layers are trained, and how fast.
      model: `keras.Model`.
      loss: what is minimized.
      steps: of the whole phase.
    """
    import keras

    network.free(model, phase.layers)
    warm_up = round(WARM_UP * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=phase.learning_rate, warmup_steps=warm_up
    )
    # The optimizer updates the average with each step, and its state, which a resumed training restores, has it.
    optimizer = keras.optimizers.Adam(rate, use_ema=phase.is_averaged, ema_momentum=1 - 1 / max(1.0, AVERAGED * steps))
    # XLA runs this network several times slower on a CPU.
    jit_compile = "auto" if network.on_gpu() else False
    model.compile(optimizer, loss, jit_compile=jit_compile)
    # Built here: its hundreds of variables would otherwise make TensorFlow trace the training step twice.
    model.optimizer.build(model.trainable_variables)


def take_averages(model: Any) -> None:
    """Give a network the averages of its weights for good, if they are averaged."""
    model.optimizer.finalize_variable_values(model.trainable_variables)


@contextmanager
def averaged(model: Any) -> Iterator[None]:
    """Give a network the averages of its weights, if they are averaged; afterwards it has its own again."""
    own = model.get_weights()
    take_averages(model)
    yield
    model.set_weights(own)

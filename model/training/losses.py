"""What training minimizes: binary cross-entropy, or a variant of it for labels that few images have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    # `--help` imports this module for the names, and must not import NumPy.
    import numpy as np
    from numpy.typing import NDArray

Loss = Literal["bce", "weighted", "asymmetric"]

# In cross-validation on 600 real chips (8 times 5 folds, the head alone), 5 found fewer rare tags, and 30 no more.
# Without the square root F2 was lower by 0.002, and mean average precision by 0.009.
MOST_WEIGHT = 10.0

# The paper has an exponent of 4, for tens of thousands of images. In the cross-validation above, 2 was better by 0.002
# of F2 and 0.005 of mean average precision.
EXPONENT = 2
MARGIN = 0.05


def of(name: Loss, targets: NDArray[np.float32]) -> Callable[[Any, Any], Any]:
    """Return a loss for Keras: from truth and probabilities, float32 [B, L] each, to a loss per image, float32 [B].

    Each is the mean over labels of the cross-entropy -log(p) of a label that the image has, and -log(1 - p) of one that
    it lacks, p being its probability:

    - "bce": as it is.
    - "weighted": times a weight for labels that the image has; see `positive_weights`.
    - "asymmetric": for labels that the image lacks, with max(p - m, 0) in place of p, and times that to the power of g:
      the many images that evidently lack a label no longer outweigh the few that have it. From Ridnik and others,
      "Asymmetric Loss For Multi-Label Classification", 2021, equations 4 to 6, with g+ = 0, g- = g = `EXPONENT` and
      m = `MARGIN`.

    Args:
      name: which.
      targets: of the training images, float32 [N, L]; the weights are from them.
    """
    import keras

    if name == "bce":
        plain: Callable[[Any, Any], Any] = keras.losses.binary_crossentropy
        return plain
    if name == "weighted":
        weights = positive_weights(targets)

        def weighted(truth: Any, given: Any) -> Any:
            of_each = keras.ops.binary_crossentropy(truth, given)
            return keras.ops.mean(of_each * (1 + truth * (weights - 1)), axis=-1)

        return weighted

    def asymmetric(truth: Any, given: Any) -> Any:
        lowered = keras.ops.relu(given - MARGIN)
        of_lacking = -(lowered**EXPONENT) * keras.ops.log(1 - lowered)
        # Keras' own for the others: it computes from log-odds, so that it still has a slope where p is 0.
        of_having = keras.ops.binary_crossentropy(truth, given)
        return keras.ops.mean(keras.ops.where(truth > 0, of_having, of_lacking), axis=-1)

    return asymmetric


def positive_weights(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return by how much an image that has a label counts more than one that lacks it, float32 [L].

    It is the square root of (images that lack the label / images that have it), from 1 to `MOST_WEIGHT`. The ratio
    alone is the weight that PyTorch's documentation of `BCEWithLogitsLoss` recommends (`pos_weight`); the square root
    is how Mahajan and others, "Exploring the Limits of Weakly Supervised Pretraining", 2018, raise rare labels.

    Args:
      targets: of the training images, float32 [N, L].
    """
    import numpy as np

    having = targets.sum(axis=0)
    ratio = (len(targets) - having) / np.maximum(having, 1)
    weights: NDArray[np.float32] = np.clip(np.sqrt(ratio), 1, MOST_WEIGHT).astype(np.float32)
    return weights

"""Turn labelled images into training batches, and hold some out."""

from typing import Literal

Augment = Literal["orientations", "flips", "none"]
"""How training images vary; see `augmentation.vary`."""

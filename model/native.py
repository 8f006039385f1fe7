"""Keep back what native libraries have to say about the hardware."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep native libraries from writing on standard error; Python's errors are raised as ever.

    TensorFlow writes some lines before it reads the variable that should silence it, and LiteRT one for each
    interpreter: only a closed standard error keeps them back.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)

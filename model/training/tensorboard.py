"""What goes wrong with the only files of a training that TensorFlow writes by itself: TensorBoard's logs."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any


def error_of_system(error: Any, folder: Path) -> OSError | None:
    """Return the error of the system that made TensorFlow fail on a log; None if it failed for another reason.

    TensorFlow reports a full disk by the same exception as a full memory.

    Args:
      error: a `tf.errors.OpError`.
      folder: of the logs.
    """
    # "{{node __wrapped__CreateSummaryFileWriter_...}} FILE; REASON", perhaps with further lines or " [Op:...]".
    node, _, message = error.message.partition("}} ")
    if "Summary" not in node:
        return None
    reason = message.partition("\n")[0].partition(" [Op:")[0].rpartition("; ")[2]
    code = next((code for code in errno.errorcode if os.strerror(code) == reason), errno.EIO)
    return OSError(code, reason, str(folder))

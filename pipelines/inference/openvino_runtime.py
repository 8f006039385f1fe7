"""Load OpenVINO, once per process."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


@cache
def load_core() -> Any:
    """Load OpenVINO's runtime, once per process.

    It replaces the stack on which this thread handles signals. When two runtimes end in the order in which they began,
    the one that is put back no longer exists, and the next signal ends the process.
    """
    return import_openvino().Core()


def is_loadable() -> bool:
    """Return whether OpenVINO is installed and works at all."""
    try:
        load_core()
    except Exception:
        return False
    return True


def import_openvino() -> Any:
    """Import OpenVINO without its converter, whose import takes longer and reports to Google Analytics, unasked.

    Raises:
      ImportError: it is not installed, or broken.
    """
    name = "openvino.tools.ovc"
    loaded = sys.modules.get(name)
    if loaded is None:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        raise
    except Exception as error:
        # Whatever an incomplete package comes across.
        raise ImportError(f"{type(error).__name__}: {error}") from error
    finally:
        if loaded is None:
            # Another thread may have done so: programs that open an engine in several, as Daft does.
            sys.modules.pop(name, None)
    return openvino

"""`scenetags import`: turn a model that was made elsewhere into a bundle."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from model.foreign.settings import parse
from pipelines.commandline.parser import print_error, print_stopped
from pipelines.commandline.printing import OutputClosedError, discard_output
from pipelines.errors import ExitCode, ScenetagsError

_NAME = "scenetags import"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        # Imported here: NumPy and the rest would make `--help` slow.
        from model.foreign.session import import_model

        import_model(settings)
    except ScenetagsError as error:
        return print_error(_NAME, error)
    except OutputClosedError:
        discard_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        return print_stopped(_NAME, error)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())

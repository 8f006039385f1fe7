"""`scenetags train`: turn labelled images into a bundle."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from model.training.settings import parse
from pipelines.commandline.parser import print_error, print_stopped
from pipelines.commandline.printing import OutputClosedError, discard_output, show
from pipelines.errors import ExitCode, ScenetagsError

_NAME = "scenetags train"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    settings = None
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        # Imported here: NumPy and the rest would make `--help` slow.
        from model.training.session import train

        train(settings)
    except ScenetagsError as error:
        return print_error(_NAME, error)
    except OutputClosedError:
        discard_output()  # as other commands end; the same command again resumes
        return 128 + signal.SIGPIPE
    except OSError as error:
        return print_stopped(_NAME, error, "run the same command again to resume")
    except KeyboardInterrupt:
        # It appears at the end, as a whole, and before its last figures are measured.
        rest = (
            f"the bundle in {settings.output} is complete"
            if settings and (settings.output / "bundle.json").exists()
            else "run the same command again to resume after the last finished epoch"
        )
        show("", f"{_NAME}: interrupted; {rest}", file=sys.stderr)
        return 128 + signal.SIGINT
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())

"""Say where the images of an output are: rows may have only the parts of their paths below a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipelines import storage
from pipelines.output.footers import Footer
from pipelines.results.files import Manifest, NoOutputError
from pipelines.results.outputs import Output


class Whereabouts(NamedTuple):
    """Where the images of an output are.

    Attributes:
      relative: whether rows have only the parts of paths below a folder.
      folder: this folder; empty if it is not known, or there is none.
    """

    relative: bool
    folder: str = ""

    def whole(self, path: str) -> str:
        """Return the whole path of an image; empty if it is not known."""
        # What failed before it was found has the path that it was listed with.
        if not self.relative or path.startswith("/") or storage.is_remote(path):
            return path
        return self.folder and storage.join(self.folder, path)


def find_whereabouts(
    output: Output, footer: Footer, relative_to: str | None = None, manifests: Sequence[Manifest] | None = None
) -> Whereabouts:
    """Find out where the images of an output are.

    Args:
      output: the output.
      footer: what its rows were made with.
      relative_to: the folder below which they are now; by default that of the newest run.
      manifests: of its runs, if they have been read.

    Raises:
      NoOutputError: rows have whole paths, and `relative_to` is given.
    """
    if not footer.relative:
        if relative_to is not None:
            raise NoOutputError(
                f"--relative_to {relative_to}: {output.path} has rows with absolute paths", "omit --relative_to"
            )
        return Whereabouts(False)
    if relative_to is not None:
        return Whereabouts(True, storage.normalize(relative_to))
    options = [run.described.get("options") for run in (output.manifests() if manifests is None else manifests)]
    folders = [of_run.get("relative_to") for of_run in reversed(options) if isinstance(of_run, dict)]
    return Whereabouts(True, next((folder for folder in folders if isinstance(folder, str) and folder), ""))


def require_folder(output: Output, whereabouts: Whereabouts) -> Whereabouts:
    """Verify that the images of an output can be found.

    Raises:
      NoOutputError: rows have relative paths, and no folder is known.
    """
    if whereabouts.relative and not whereabouts.folder:
        raise NoOutputError(f"{output.path} does not say where its images are", "give their folder with --relative_to")
    return whereabouts

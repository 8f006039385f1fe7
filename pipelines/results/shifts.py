"""Compare the images of all runs of an output with those that its model was trained on."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.inference.reference import read_reference
from pipelines.inference.shift import Seen, Shift, compare
from pipelines.results.outputs import Manifest


def compare_runs(manifests: Iterable[Manifest], bundle: str) -> Shift:
    """Compare the images that runs with a bundle have tagged, each as often as it was tagged, with its training images.

    Args:
      manifests: of the runs of an output.
      bundle: digest of the bundle.
    """
    reference, seen = None, Seen()
    for manifest in manifests:
        try:
            if manifest.described["bundle"]["digest"] != bundle:
                continue
            reference = reference or read_reference(manifest.described["reference"])
        except (KeyError, TypeError, ValueError):
            # Without a reference, of another version, or of a stranger.
            continue
        seen = seen.and_also(manifest.accounts.seen)
    return compare(reference, seen)

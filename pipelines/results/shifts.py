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
        described = manifest.described
        if described.get("bundle", {}).get("digest") != bundle or "reference" not in described:
            continue
        try:
            reference = reference or read_reference(described["reference"])
        except ValueError:
            # An output of another version, or of a stranger.
            continue
        seen = seen.and_also(manifest.accounts.seen)
    return compare(reference, seen)

"""Compare the images of all runs of an output with those that its model was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipelines.inference.reference import read_reference
from pipelines.inference.shift import Seen, Shift, compare
from pipelines.results.outputs import Manifest


def compare_runs(manifests: Iterable[Manifest], bundle: str) -> Shift:
    """Compare the images that runs with a bundle have tagged, each as often as it was tagged, with its training images.

    Runs whose rows an overwrite has replaced do not count.

    Args:
      manifests: of the runs of an output, oldest first.
      bundle: digest of the bundle.
    """
    reference, seen = None, Seen()
    for manifest in _with_rows(manifests):
        try:
            if manifest.described["bundle"]["digest"] != bundle:
                continue
            reference = reference or read_reference(manifest.described["reference"])
        except (KeyError, TypeError, ValueError):
            # Without a reference, of another version, or of a stranger.
            continue
        seen = seen.and_also(manifest.accounts.seen)
    return compare(reference, seen)


def _with_rows(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return the manifests of runs that have rows in the output."""
    there: list[Manifest] = []
    # Overwrites whose rows wait for the next one, which resumes them or drops them.
    waiting: list[Manifest] = []
    for manifest in manifests:
        if not _overwrites(manifest):
            there.append(manifest)
            waiting = []
            continue
        waiting = [*(waiting if manifest.accounts.skipped else []), manifest]
        if manifest.status == "done":
            there, waiting = waiting, []
    return there


def _overwrites(manifest: Manifest) -> bool:
    options = manifest.described.get("options")
    return isinstance(options, Mapping) and options.get("overwrite") is True

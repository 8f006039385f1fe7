"""Counts of images that a distributed runner gathers from all workers while a job is at work, and shows.

They are for looking at. What the accounts say is counted in the rows that are committed: a bundle that is tried again
may count twice here.
"""

from __future__ import annotations

from collections import Counter

from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

from pipelines.supervision.progress import Meter

_NAMESPACE = "scenetags"

LISTED = Metrics.counter(_NAMESPACE, "images_listed")
SKIPPED = Metrics.counter(_NAMESPACE, "images_skipped")
TAGGED = Metrics.counter(_NAMESPACE, "images_tagged")
FAILED = Metrics.counter(_NAMESPACE, "images_failed")


def read_meter(result: PipelineResult) -> Meter:
    """Read how far a job has come, from a runner that tells while it works."""
    counters = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]
    counts: Counter[str] = Counter()
    for counter in counters:
        # Each step that counts has a counter of that name.
        counts[counter.key.metric.name] += counter.result or 0
    listed, skipped, tagged, failed = (counts[one.metric_name.name] for one in (LISTED, SKIPPED, TAGGED, FAILED))
    return Meter(listed, done=skipped + tagged + failed, failures=failed)

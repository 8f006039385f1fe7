"""Counts of images that a distributed runner collects from all workers and shows while a job is running.

They are for display only: a Beam bundle that is retried may count twice here. The accounts of a run are counted from
the committed rows.
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
EMPTY = Metrics.counter(_NAMESPACE, "windows_empty")
FAILED = Metrics.counter(_NAMESPACE, "images_failed")


def read_meter(result: PipelineResult) -> Meter:
    """Read the progress of a job from a runner that reports it while the job runs."""
    counters = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]
    counts: Counter[str] = Counter()
    for counter in counters:
        # Every step that counts has its own counter of that name.
        counts[counter.key.metric.name] += counter.result or 0
    listed, skipped, tagged, empty, failed = (
        counts[one.metric_name.name] for one in (LISTED, SKIPPED, TAGGED, EMPTY, FAILED)
    )
    return Meter(listed, done=skipped + tagged + empty + failed, skipped=skipped, failures=failed)

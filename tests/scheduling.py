"""Which tests one process of pytest-xdist runs: those that share what is costly to make, and which cannot be shared."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

GROUPS = {
    "tests/deployment/test_dockerfile.py": "image",
    "tests/docs/test_notebook.py": "notebook",
    "tests/docs/test_scenes.py": "buckets",
    "tests/docs/test_training.py": "tensorflow",
    "tests/model/data/test_dataset.py": "tensorflow",
    "tests/model/export/test_card.py": "tensorflow",
    "tests/model/export/test_export.py": "tensorflow",
    "tests/model/export/test_quantization.py": "tensorflow",
    "tests/model/export/test_trained.py": "tensorflow",
    "tests/model/foreign/test_choices.py": "tensorflow",
    "tests/model/foreign/test_formats.py": "tensorflow",
    "tests/model/foreign/test_hostile.py": "tensorflow",
    "tests/model/foreign/test_operations.py": "tensorflow",
    "tests/model/quality/test_curves.py": "tensorflow",
    "tests/model/quality/test_metrics.py": "tensorflow",
    "tests/model/synthetic/test_synthetic.py": "tensorflow",
    "tests/model/evaluation/test_evaluate.py": "evaluation",
    "tests/model/evaluation/test_unmeasurable.py": "evaluation",
    "tests/model/test_interrupted_trainings.py": "tensorflow",
    "tests/model/test_refused_trainings.py": "tensorflow",
    "tests/model/test_train.py": "tensorflow",
    "tests/model/training/test_all_images.py": "tensorflow",
    "tests/model/training/test_fitting.py": "tensorflow",
    "tests/model/training/test_network.py": "tensorflow",
    "tests/model/training/test_start.py": "tensorflow",
    "tests/pipelines/images/test_other_decoders.py": "tensorflow",
    "tests/pipelines/inference/test_engines.py": "tensorflow",
    "tests/pipelines/inference/test_operations.py": "tensorflow",
    "tests/pipelines/job/test_graph.py": "graph",
    "tests/pipelines/predict/test_precision.py": "precision",
    "tests/pipelines/results/test_compare_page.py": "browser",
    "tests/pipelines/results/test_map_page.py": "browser",
    "tests/pipelines/results/test_novelty.py": "browser",
    "tests/pipelines/results/test_report_page.py": "browser",
    "tests/pipelines/runners/test_dataflow.py": "buckets",
    "tests/pipelines/runners/test_dataflow_ends.py": "buckets",
    "tests/pipelines/runners/test_workers.py": "portable",
}
"""Modules whose tests stay together, and with those of the same name."""

PARAMETERS = {"portable": "portable", "gs": "buckets", "s3": "buckets", "tensorflow": "tensorflow"}
"""Parameters of tests that belong to a group, the first ones before the others.

In each process that runs such a test their servers are started, or TensorFlow and what it needs are imported, which
takes seconds.
"""


class Grouped(LoadScopeScheduling):  # type: ignore[misc]
    """Hand out groups first, the largest before the others, so that single tests fill the gaps at the end.

    As `--dist loadgroup` does by marks, which pytest-xdist 3.8 no longer finds with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        words = re.split(r"[\[\]-]", nodeid)
        return GROUPS.get(module) or next((group for word, group in PARAMETERS.items() if word in words), nodeid)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Forget what is complete: all that a process was ever given would be counted after each test."""
        super().mark_test_complete(node, item_index, duration)
        given = self.assigned_work[node]
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(given[scope].values()):
            del given[scope]

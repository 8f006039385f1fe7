"""Which tests one process of pytest-xdist runs: those that share what is costly to make, and which cannot be shared."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

GROUPS = {
    "tests/deployment/test_dockerfile.py": "image",
    "tests/docs/test_notebook.py": "notebook",
    "tests/model/export/test_export.py": "export",
    "tests/model/export/test_quantization.py": "training",
    "tests/model/test_evaluate.py": "evaluation",
    "tests/model/test_train.py": "training",
    "tests/model/training/test_fitting.py": "fitting",
    "tests/pipelines/results/test_compare_page.py": "browser",
    "tests/pipelines/results/test_map_page.py": "browser",
    "tests/pipelines/results/test_report_page.py": "browser",
    "tests/pipelines/runners/test_workers.py": "workers",
}
"""Modules whose tests stay together, and with those of the same name. All other tests go wherever there is time."""


class Grouped(LoadScopeScheduling):  # type: ignore[misc]
    """Hand out groups first, the largest before the others, so that single tests fill the gaps at the end.

    As `--dist loadgroup` does by marks, which pytest-xdist 3.8 no longer finds with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return GROUPS.get(nodeid.partition("::")[0], nodeid)

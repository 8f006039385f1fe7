"""A Beam worker pool for runners whose machines number their workers independently.

Beam's own pool identifies a worker only by its number. If two task managers share a pool, stopping worker 1-1 of one
also stops worker 1-1 of the other, and the job waits for it forever.
"""

from __future__ import annotations

import sys
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import worker_pool_main


class SharedWorkerPool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
    """A pool that stops no worker: each exits when the task manager that requested it closes its channel."""

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802 - Beam's name
        """Report success, but do nothing."""
        return beam_fn_api_pb2.StopWorkerResponse()


if __name__ == "__main__":
    worker_pool_main.BeamFnExternalWorkerPoolServicer = SharedWorkerPool
    worker_pool_main.main(sys.argv)

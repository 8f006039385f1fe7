"""A pool of Beam's workers for runners with several machines, each of which counts its workers by itself.

Beam's own pool knows a worker by its number alone. Where two task managers share the pool, the end of one's worker 1-1
ends the other's worker 1-1 as well, and the job waits for it without end.
"""

from __future__ import annotations

import sys
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import worker_pool_main


class SharedWorkerPool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
    """A pool that ends no worker: each ends by itself when the task manager that asked for it closes its channel."""

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802 - Beam's name
        """Agree, and do nothing."""
        return beam_fn_api_pb2.StopWorkerResponse()


if __name__ == "__main__":
    worker_pool_main.BeamFnExternalWorkerPoolServicer = SharedWorkerPool
    worker_pool_main.main(sys.argv)

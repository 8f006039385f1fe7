"""Beam's job service, with as many workers per job as the variable WORKERS says; by itself, it requests one."""

from __future__ import annotations

import os
import sys
from typing import Any

from apache_beam.runners.portability import local_job_service_main
from apache_beam.runners.portability.fn_api_runner import fn_runner


def main() -> None:
    """Serve until killed."""
    make = fn_runner.FnApiRunner.__init__

    def make_parallel(runner: Any, *arguments: Any, **settings: Any) -> None:
        make(runner, *arguments, **settings)
        runner._num_workers = int(os.environ["WORKERS"])

    fn_runner.FnApiRunner.__init__ = make_parallel
    local_job_service_main.run(sys.argv[1:])


if __name__ == "__main__":
    main()

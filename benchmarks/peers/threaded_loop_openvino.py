"""A hand-written loop: threads that read, decode and predict, with our OpenVINO engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.job import load_model, parse_job, write_rows
from pipelines.inference.bundle import load_bundle
from pipelines.inference.engines import open_engine


def main() -> None:
    """Run the job."""
    job = parse_job()
    model = load_model(job.bundle)
    engine = open_engine(load_bundle(job.bundle), "openvino", precision=job.precision)

    def predict(path: str) -> NDArray[np.float32]:
        return engine.predict([model.decode(Path(path).read_bytes())])

    with ThreadPoolExecutor(engine.calls) as executor:
        write_rows(job, model, np.concatenate(list(executor.map(predict, job.paths))))


if __name__ == "__main__":
    main()

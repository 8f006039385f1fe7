"""Run an Apache Flink session cluster on loopback, with Beam's job server in front of it.

The job manager and the task managers are separate processes with their own memory, as on separate machines. Flink's
libraries come from PyPI and Beam's job server from Maven; `make test-flink` downloads both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tools.emulators import free_port
from tools.workers import Server, worker_pool

SECONDS_TO_START = 120

# Packages of Java 17 that Flink accesses by reflection, as in its own configuration.
_OPENED = ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "text", "time", "util", "util.concurrent")
_JAVA = ("java", *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED))

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"


class Parts(NamedTuple):
    """The parts of a cluster.

    Attributes:
      libraries: folder with Flink's `lib` and `bin`.
      job_server: jar of Beam's job server.
    """

    libraries: Path
    job_server: Path

    @classmethod
    def under(cls, folder: Path) -> Parts:
        """Find the parts where `make test-flink` puts them."""
        return cls(folder / "libraries" / "pyflink", folder / "job-server.jar")


class TaskManager(NamedTuple):
    """A task manager, which processes a share of each step.

    Attributes:
      name: its ID at the job manager.
      process: the Java process.
    """

    name: str
    process: subprocess.Popen[bytes]


class FlinkCluster:
    """A running cluster."""

    def __init__(self, rest: str, jobs: Server, workers: Server, task_managers: Sequence[TaskManager]) -> None:
        self.rest = rest
        self._jobs = jobs
        self._workers = workers
        self.task_managers = task_managers

    @property
    def flags(self) -> tuple[str, ...]:
        """Beam flags that submit a job to this cluster, with a share for each task manager."""
        return (
            *("--runner=PortableRunner", f"--job_endpoint={self._jobs.host}"),
            *("--environment_type=EXTERNAL", f"--environment_config={self._workers.host}"),
            f"--parallelism={len(self.task_managers)}",
        )

    @property
    def tail(self) -> str:
        """The last lines of its logs."""
        return f"{self._jobs.tail}\n{self._workers.tail}"

    def ask(self, path: str) -> Any:
        """Query the job manager; see Flink's REST API."""
        with urllib.request.urlopen(f"http://{self.rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def last_job(self) -> str:
        """Return the ID of the last job; empty if there is none."""
        jobs = sorted(self.ask("/jobs/overview")["jobs"], key=lambda job: job["start-time"])
        return jobs[-1]["jid"] if jobs else ""

    def shares(self, step: str) -> dict[str, tuple[str, int]]:
        """Return, by task manager, the status of its share of a step of the last job and the number of records read.

        Args:
          step: part of the step's name; fused steps share one name.
        """
        return {manager: share for shares in self.shares_of_each(step) for manager, share in shares.items()}

    def shares_of_each(self, step: str) -> list[dict[str, tuple[str, int]]]:
        """Return the same for each of the steps with such a name, in the order in which data flows."""
        return [
            {
                share["taskmanager-id"]: (share["status"], share["metrics"]["read-records"])
                for share in self.ask(f"{vertex}/taskmanagers")["taskmanagers"]
            }
            for vertex in self._vertices(step)
        ]

    def attempts(self, step: str) -> list[int]:
        """Return how often each share of a step of the last job was retried."""
        return [share["attempt"] for vertex in self._vertices(step) for share in self.ask(vertex)["subtasks"]]

    def _vertices(self, step: str) -> list[str]:
        job = self.last_job()
        vertices = self.ask(f"/jobs/{job}")["vertices"] if job else []
        return [f"/jobs/{job}/vertices/{vertex['id']}" for vertex in vertices if step in vertex["name"]]


@contextmanager
def flink_cluster(parts: Parts, folder: Path, task_managers: int = 2, slots: int = 2) -> Iterator[FlinkCluster]:
    """Run a cluster with its job server and workers.

    Args:
      parts: of the cluster.
      folder: for logs and all other files; created if missing.
      task_managers: number of task managers.
      slots: shares of steps that a task manager processes concurrently; a spare one can take over another's share.
    """
    rest, rpc = free_port(), free_port()
    with ExitStack() as running:
        for number in range(task_managers + 1):
            _configure(folder / str(number), rest, rpc, slots)
        running.enter_context(_java(parts, folder / "0", (), _JOB_MANAGER, "--executionMode", "cluster"))
        managers = []
        for number in range(1, task_managers + 1):
            memory, settings = _shares_of_memory(parts, folder / str(number))
            started = _java(parts, folder / str(number), memory, _TASK_MANAGER, *settings)
            managers.append(TaskManager(f"task-manager-{number}", running.enter_context(started)))
        workers = running.enter_context(worker_pool(folder / "workers", module="tools.worker_pool"))
        jobs = running.enter_context(_job_server(parts, folder / "jobs", rest))
        cluster = FlinkCluster(f"127.0.0.1:{rest}", jobs, workers, managers)
        _wait_for(cluster, task_managers * slots)
        yield cluster


def _configure(folder: Path, rest: int, rpc: int, slots: int) -> None:
    """Write the configuration of one process; only the folder differs between processes."""
    (folder / "temp").mkdir(parents=True)
    settings = {
        "jobmanager": {"rpc": {"address": "127.0.0.1", "port": rpc}, "bind-host": "127.0.0.1"},
        "rest": {"address": "127.0.0.1", "bind-address": "127.0.0.1", "port": rest},
        "taskmanager": {
            "bind-host": "127.0.0.1",
            "host": "127.0.0.1",
            "resource-id": f"task-manager-{folder.name}",
            "numberOfTaskSlots": slots,
            "memory": {
                "process": {"size": "1280m"},
                "managed": {"size": "192m"},
                "network": {"min": "128m", "max": "128m"},
            },
            # The default needs more network memory than such a small process has.
            "network": {"sort-shuffle": {"min-buffers": 64}},
        },
        "cluster": {"evenly-spread-out-slots": True},
        "restart-strategy": {"type": "fixed-delay", "fixed-delay": {"attempts": 10, "delay": "1 s"}},
        # By default it takes 50 s to notice that a task manager is gone.
        "heartbeat": {"interval": 1000, "timeout": 8000},
        "io": {"tmp": {"dirs": str(folder / "temp")}},
    }
    # All JSON is YAML.
    (folder / "config.yaml").write_text(json.dumps(settings))


def _shares_of_memory(parts: Parts, folder: Path) -> tuple[list[str], list[str]]:
    """Have Flink compute, as its scripts do, the Java flags and the settings of a task manager."""
    class_path = os.pathsep.join(map(str, [parts.libraries / "bin" / "bash-java-utils.jar", *_jars(parts)]))
    tool = "org.apache.flink.runtime.util.bash.BashJavaUtils"
    command = ["java", "-cp", class_path, tool, "GET_TM_RESOURCE_PARAMS", "--configDir", str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS_TO_START).stdout
    flags, settings = (line.split(":", 1)[1].split() for line in output.splitlines() if "EXEC_RESULT:" in line)
    return flags, settings


def _jars(parts: Parts) -> list[Path]:
    return sorted((parts.libraries / "lib").glob("*.jar"))


@contextmanager
def _java(
    parts: Parts, folder: Path, memory: Sequence[str], entry: str, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of Flink's processes."""
    class_path = os.pathsep.join(map(str, _jars(parts)))
    flags = [*(memory or ("-Xmx448m",)), f"-Djava.io.tmpdir={folder / 'temp'}", "-cp", class_path]
    with _running([*_JAVA, *flags, entry, "--configDir", str(folder), *arguments], folder) as process:
        yield process


@contextmanager
def _job_server(parts: Parts, folder: Path, rest: int) -> Iterator[Server]:
    (folder / "temp").mkdir(parents=True)
    port = free_port()
    command = [*_JAVA, "-Xmx512m", f"-Djava.io.tmpdir={folder / 'temp'}", "-jar", str(parts.job_server)]
    command += [f"--flink-master=127.0.0.1:{rest}", "--job-host=127.0.0.1", f"--job-port={port}"]
    command += ["--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={folder / 'artifacts'}"]
    with _running(command, folder) as server:
        yield Server(f"127.0.0.1:{port}", folder / "log.txt", server.pid)


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(cluster: FlinkCluster, slots: int) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        with suppress(OSError):
            if cluster.ask("/overview")["slots-available"] == slots and "JobService started" in cluster.tail:
                return
        time.sleep(0.2)
    raise RuntimeError(f"Flink has not started: {cluster.tail}")

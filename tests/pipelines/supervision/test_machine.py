"""Cores and memory are those that may be used, whatever sets the limit; only native code's greetings are dropped."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.commandline.printing import announce, log
from pipelines.supervision import machine
from pipelines.supervision.machine import (
    available_cores,
    cpu_quota,
    native_messages_muted,
    return_freed_memory,
    standard_error,
    usable_memory,
)


def write(root: Path, groups: str, files: Mapping[str, str]) -> tuple[Path, Path]:
    """Write a tree of control groups, and the file that names those of the process."""
    (root / "own").write_text(groups)
    for name, content in files.items():
        (root / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "cgroup" / name).write_text(content)
    return root / "cgroup", root / "own"


V1 = "12:memory:/docker/box\n4:cpu,cpuacct:/docker/box\n"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000", "cpu.max": "max 100000"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3.0),
        ("0::/of/the/host\n", {"cpu.max": "250000 50000"}, 5.0),
        (V1, {"cpu/docker/box/cpu.cfs_quota_us": "70000", "cpu/docker/box/cpu.cfs_period_us": "100000"}, 0.7),
        (V1, {"cpu,cpuacct/docker/cpu.cfs_quota_us": "50000", "cpu,cpuacct/docker/cpu.cfs_period_us": "100000"}, 0.5),
        (V1, {"cpu/docker/box/cpu.cfs_quota_us": "-1", "cpu/docker/box/cpu.cfs_period_us": "100000"}, None),
        (
            V1,
            {
                "cpu/docker/box/cpu.cfs_quota_us": "400000",
                "cpu/docker/box/cpu.cfs_period_us": "100000",
                "cpu/docker/cpu.cfs_quota_us": "100000",
                "cpu/docker/cpu.cfs_period_us": "50000",
            },
            2.0,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ("12:memory:/\n5:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, None),
        (f"{V1}0::/\n", {"cpu/cpu.cfs_quota_us": "90000", "cpu/cpu.cfs_period_us": "100000"}, 0.9),
    ],
    ids=[
        *("limit", "max", "no file", "no period", "tighter parent", "looser parent", "limit of the parent"),
        *("path of the host",),
        *("v1 limit", "v1 without links", "v1 none", "v1 tighter parent", "v1 path of the host"),
        *("v1 other controllers", "both versions"),
    ],
)  # fmt: skip
def test_the_quota_is_the_tightest_of_all_groups_above(
    groups: str, files: Mapping[str, str], quota: float | None, tmp_path: Path
) -> None:
    assert cpu_quota(*write(tmp_path, groups, files)) == quota


def test_what_cannot_be_read_sets_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "nowhere") is None
    assert cpu_quota(*write(tmp_path, "0::/a\n", {"a/cpu.max": "half of it\n", "cpu.max": "one"})) is None
    (tmp_path / "cgroup/b/cpu.max").mkdir(parents=True)
    assert cpu_quota(*write(tmp_path, "0::/b\n", {})) is None
    without_period = write(tmp_path, "3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "50000"})
    assert cpu_quota(*without_period) is None, "a quota without its period"


@pytest.mark.parametrize(
    ("may_run_on", "quota", "cores"), [(8, None, 8), (8, 2.0, 2), (8, 1.2, 2), (8, 0.1, 1), (2, 6.0, 2), (1, None, 1)]
)
def test_cores_are_those_it_may_run_on_or_fewer_by_a_quota(
    may_run_on: int, quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(may_run_on)))
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)

    assert available_cores() == cores


@pytest.mark.parametrize(("counted", "cores"), [(6, 6), (None, 1)])
def test_where_the_system_names_no_cores_all_are_counted(
    counted: int | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)

    assert available_cores() == cores


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "70000000\n"}, 70_000_000),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/memory.max": "5000000", "a/memory.max": "4000000", "memory.max": "max"}, 4_000_000),
        ("0::/of/the/host\n", {"memory.max": "6000000"}, 6_000_000),
        ("4:memory:/docker/box\n", {"memory/docker/box/memory.limit_in_bytes": "80000000"}, 80_000_000),
        ("4:memory:/docker/box\n", {"memory/docker/box/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("4:memory:/docker/box\n", {"memory/memory.limit_in_bytes": "90000000"}, 90_000_000),
        ("3:cpu:/\n", {"cpu/memory.limit_in_bytes": "100"}, None),
    ],
    ids=[
        *("limit", "max", "no file", "tighter parent", "path of the host"),
        *("v1 limit", "v1 none", "v1 path of the host", "v1 other controllers"),
    ],
)  # fmt: skip
def test_memory_is_the_machines_or_less_by_the_tightest_group(
    groups: str, files: Mapping[str, str], limit: int | None, tmp_path: Path
) -> None:
    machines = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    assert usable_memory(*write(tmp_path, groups, files)) == (limit or machines)


def test_of_limited_address_space_only_what_is_left_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, least, most in ((taken + 50_000_000, 1, 50_000_000), (1000, 1, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, resource.RLIM_INFINITY))
        assert least <= usable_memory(tmp_path, tmp_path / "nowhere") <= most


def test_freed_memory_is_returned_and_a_library_that_keeps_none_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    return_freed_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    return_freed_memory()


def test_native_messages_are_dropped_and_nothing_before_or_after(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with native_messages_muted():
        # The first time, a duplicate is made, which stays.
        pass
    files = len(os.listdir("/proc/self/fd"))

    os.write(2, b"before, ")
    with native_messages_muted():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU. ")
    with pytest.raises(RuntimeError, match="a wrong model"), native_messages_muted():
        raise RuntimeError("a wrong model")
    os.write(2, b"after")

    assert capfd.readouterr().err == "before, after"
    assert len(os.listdir("/proc/self/fd")) == files, "a file was left open"


def test_our_own_messages_are_printed_while_those_of_native_code_are_dropped(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", open(2, "w", closefd=False))  # noqa: SIM115
    with native_messages_muted():
        announce("finishing what is in progress")
        log("the lock was taken over")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU. ")

    assert capfd.readouterr().err == "\nscenetags: finishing what is in progress\nthe lock was taken over\n"


def test_nobody_mutes_or_restores_what_another_thread_writes_to(capfd: pytest.CaptureFixture[str]) -> None:
    muted, restore, restored = threading.Event(), threading.Event(), threading.Event()

    def mute() -> None:
        with native_messages_muted():
            muted.set()
            restore.wait(timeout=5)
        restored.set()

    with ThreadPoolExecutor(1) as threads:
        with standard_error() as descriptor:
            muting = threads.submit(mute)
            assert not muted.wait(0.02), "a message would be dropped"
            os.write(descriptor, b"before, ")
        muted.wait()
        with standard_error() as descriptor:
            restore.set()
            assert not restored.wait(0.02), "a message could go to any file that is opened meanwhile"
            os.write(descriptor, b"while muted, ")
        muting.result()
    with standard_error() as descriptor:
        os.write(descriptor, b"after")

    assert capfd.readouterr().err == "before, while muted, after"


def test_a_signal_handler_may_write_while_its_thread_writes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", open(2, "w", closefd=False))  # noqa: SIM115
    with native_messages_muted(), standard_error():
        announce("finishing what is in progress")

    assert capfd.readouterr().err == "\nscenetags: finishing what is in progress\n"


def test_native_messages_are_dropped_until_the_last_of_several_threads_wants_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    first, second = native_messages_muted(), native_messages_muted()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    os.write(2, b"dropped")
    second.__exit__(None, None, None)
    os.write(2, b"after")

    assert capfd.readouterr().err == "after"

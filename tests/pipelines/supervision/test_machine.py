"""Cores are those that may be used, whatever sets the limit; and only native code's greetings are dropped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.supervision import machine
from pipelines.supervision.machine import available_cores, cpu_quota, native_messages_muted


def write(root: Path, groups: str, files: Mapping[str, str]) -> float | None:
    """Write a tree of control groups and the file that names those of the process, and read the quota."""
    (root / "own").write_text(groups)
    for name, content in files.items():
        (root / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "cgroup" / name).write_text(content)
    return cpu_quota(root / "cgroup", root / "own")


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
        *("v1 limit", "v1 none", "v1 tighter parent", "v1 path of the host", "v1 other controllers", "both versions"),
    ],
)  # fmt: skip
def test_the_quota_is_the_tightest_of_all_groups_above(
    groups: str, files: Mapping[str, str], quota: float | None, tmp_path: Path
) -> None:
    assert write(tmp_path, groups, files) == quota


def test_what_cannot_be_read_sets_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "nowhere") is None
    assert write(tmp_path, "0::/a\n", {"a/cpu.max": "half of it\n", "cpu.max": "one"}) is None
    (tmp_path / "cgroup/b/cpu.max").mkdir(parents=True)
    assert write(tmp_path, "0::/b\n", {}) is None
    assert write(tmp_path, "3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "50000"}) is None, "a quota without its period"


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


def test_native_messages_are_dropped_and_nothing_before_or_after(
    capfd: pytest.CaptureFixture[str],
) -> None:
    files = len(os.listdir("/proc/self/fd"))

    os.write(2, b"before, ")
    with native_messages_muted():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU. ")
    with pytest.raises(RuntimeError, match="a wrong model"), native_messages_muted():
        raise RuntimeError("a wrong model")
    os.write(2, b"after")

    assert capfd.readouterr().err == "before, after"
    assert len(os.listdir("/proc/self/fd")) == files, "a file was left open"

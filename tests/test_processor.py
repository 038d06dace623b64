"""Threads and memory follow the limits of the control groups: version 1 and 2, nested, and not below their mount."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from refinery import cgroup, processor
from refinery.pipeline import streams_for
from refinery.training.cache import MB, default_memory_mb


@pytest.fixture
def process(tmp_path):
    """Writes /proc/self of a process in a group of `tmp_path/fs`, with the limits given by file."""

    def write(version: int, group: str, limits: dict[str, str], root: str = "/") -> Path:
        proc, mounted = tmp_path / "proc", tmp_path / "fs"
        proc.mkdir()
        if version == 2:
            (proc / "cgroup").write_text(f"0::{group}\n")
            (proc / "mountinfo").write_text(f"31 24 0:27 {root} {mounted} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n")
        else:
            names = ("cpu,cpuacct", "memory", "pids")
            (proc / "cgroup").write_text("".join(f"{i}:{name}:{group}\n" for i, name in enumerate(names)))
            lines = [f"3{i} 24 0:27 {root} {mounted} rw - cgroup cgroup rw,{name}\n" for i, name in enumerate(names)]
            (proc / "mountinfo").write_text("".join(lines))
        for name, text in limits.items():
            (mounted / name).parent.mkdir(parents=True, exist_ok=True)
            (mounted / name).write_text(text + "\n")
        return proc

    return write


QUOTAS = {
    "version 2": (2, "/a", {"a/cpu.max": "150000 100000"}, 1.5),
    "version 2, none": (2, "/a", {"a/cpu.max": "max 100000"}, None),
    "version 2, the group above is tighter": (
        2,
        "/a/b",
        {"a/b/cpu.max": "400000 100000", "a/cpu.max": "50000 100000"},
        0.5,
    ),
    "version 2, the mount itself": (2, "/", {"cpu.max": "200000 100000"}, 2.0),
    "version 1": (1, "/a", {"a/cpu.cfs_quota_us": "300000", "a/cpu.cfs_period_us": "100000"}, 3.0),
    "version 1, none": (1, "/a", {"a/cpu.cfs_quota_us": "-1", "a/cpu.cfs_period_us": "100000"}, None),
    "version 1, the group above": (1, "/a/b", {"a/cpu.cfs_quota_us": "100000", "a/cpu.cfs_period_us": "50000"}, 2.0),
    "nothing to read": (2, "/a", {}, None),
    "nonsense": (2, "/a", {"a/cpu.max": "many"}, None),
}


@pytest.mark.parametrize(("version", "group", "limits", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_the_cpu_quota(process, version, group, limits, expected):
    assert cgroup.cpu_quota(process(version, group, limits)) == expected


def test_a_container_sees_its_own_group_as_the_mounts_root(process):
    """Without a namespace of its own, /proc/self/cgroup has the host's path and the mount begins there."""
    proc = process(1, "/docker/123", {"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"}, root="/docker/123")
    assert cgroup.cpu_quota(proc) == 1.0


MEMORY = {
    "version 2": (2, {"a/b/memory.max": "max", "a/memory.max": "1073741824"}, 1 << 30),
    "version 2, none": (2, {"a/b/memory.max": "max"}, None),
    "version 1": (1, {"a/b/memory.limit_in_bytes": "536870912"}, 1 << 29),
    "version 1, none": (1, {"a/b/memory.limit_in_bytes": "9223372036854771712"}, None),
}


@pytest.mark.parametrize(("version", "limits", "expected"), MEMORY.values(), ids=MEMORY)
def test_the_memory_limit(process, version, limits, expected):
    assert cgroup.memory_limit(process(version, "/a/b", limits)) == expected


@pytest.mark.parametrize("version", [1, 2])
def test_the_room_for_threads(process, version):
    proc = process(version, "/a", {"a/pids.max": "100", "a/pids.current": "72"})
    assert cgroup.room_for_threads(proc) == 28
    assert processor.cores(proc) == min(processor.visible_cores(), (28 - 16) // 5)


@pytest.mark.parametrize(("quota", "most"), [("50000 100000", 1), ("100000 100000", 1), ("9900000 100000", 99)])
def test_cores_are_whole_cpus_of_the_quota_and_no_more_than_there_are(process, quota, most):
    assert processor.cores(process(2, "/a", {"a/cpu.max": quota})) == min(processor.visible_cores(), most)


def test_where_there_are_no_groups_nothing_is_limited(tmp_path):
    limits = (cgroup.cpu_quota(tmp_path), cgroup.memory_limit(tmp_path), cgroup.room_for_threads(tmp_path))
    assert limits == (None, None, None)
    assert processor.cores(tmp_path) == processor.visible_cores()


def test_what_is_kept_in_memory_follows_the_limit(process, monkeypatch):
    proc = process(2, "/a", {"a/memory.max": str(1 << 30)})
    assert processor.memory_bytes(proc) == 1 << 30
    monkeypatch.setattr(cgroup, "PROC", proc)
    monkeypatch.setattr("refinery.training.cache.memory_bytes", lambda: processor.memory_bytes(proc))
    assert default_memory_mb() == (1 << 30) // MB // 8
    monkeypatch.setattr("refinery.training.cache.memory_bytes", lambda: 1 << 40)
    assert default_memory_mb() == 4096


def test_batches_at_the_same_time_follow_cores_and_memory(monkeypatch):
    monkeypatch.setattr("refinery.pipeline.cores", lambda: 8)
    monkeypatch.setattr("refinery.pipeline.memory_bytes", lambda: 1 << 40)
    assert [streams_for(chunk) for chunk in (64, 4, 1)] == [8, 4, 1]
    monkeypatch.setattr("refinery.pipeline.memory_bytes", lambda: 2 << 30)
    assert [streams_for(chunk) for chunk in (64, 4, 1)] == [8, 1, 1]


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("3", "3")])
def test_libraries_are_told_the_quota_before_they_are_imported(given, expected, monkeypatch):
    monkeypatch.setattr(processor, "cores", lambda: 1)
    monkeypatch.setattr(processor, "visible_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    processor.limit_threads()
    assert processor.os.environ["OMP_NUM_THREADS"] == expected


@pytest.mark.slow
def test_torch_has_no_more_threads_than_the_quota():
    code = (
        "import os; os.environ.pop('OMP_NUM_THREADS', None)\nimport torch\ntorch.set_num_threads(2)\n"
        "from refinery.training import device\ndevice.cores = lambda: 1\ndevice.share_cores()\n"
        "print(torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr

"""What a server is given of its instance type, and what it reads of it: asked from inside."""

from __future__ import annotations

import os

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server

from skylift.cloud.compute.server.lxcfs import FUSE

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not FUSE.exists(), reason=f"there is no {FUSE}: servers read this machine's size"),
]

BURN = """
import os, resource, time
ends = time.monotonic() + 0.6
for _ in range(3):
    if os.fork() == 0:
        while time.monotonic() < ends: pass
        os._exit(0)
for _ in range(3): os.wait()
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print((spent.ru_utime + spent.ru_stime) / 0.6)
"""
"""How many cores three processes got together that each wanted one."""


@pytest.fixture(scope="module")
def small(cloud: RealCloud) -> Server:
    """One vCPU and a GiB."""
    return cloud.launch(InstanceType="t2.micro")


def test_nproc_and_python_count_the_vcpus_of_the_type(small: Server) -> None:
    assert small.says("nproc") == "1"
    assert small.says("python3 -c 'import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))'") == "1 1"
    assert small.says("grep -c ^processor /proc/cpuinfo") == "1"


def test_free_and_meminfo_show_the_memory_of_the_type(small: Server) -> None:
    assert small.says("awk '/MemTotal/ {print $2}' /proc/meminfo") == str(1 << 20)
    total, used = small.says("free --mebi | awk '/Mem:/ {print $2, $3}'").split()
    assert total == "1024"
    assert int(used) < 512
    assert small.says("free --mebi | awk '/Swap:/ {print $2}'") == "0"


def test_what_is_taken_shows_as_taken(small: Server) -> None:
    taken = """python3 -c '
import re
def free(): return int(re.search("MemFree: *([0-9]+)", open("/proc/meminfo").read())[1])
before = free(); held = bytearray(b"x") * (256 << 20); print((before - free()) >> 10)'"""
    assert 200 < int(small.says(taken)) < 400


def test_another_type_reads_its_own(cloud: RealCloud) -> None:
    larger = cloud.launch(InstanceType="t3.small")
    assert larger.says("awk '/MemTotal/ {print $2}' /proc/meminfo") == str(2 << 20)
    assert larger.says("nproc") == str(min(2, os.cpu_count() or 1))


def test_three_busy_processes_get_one_core(small: Server) -> None:
    # Load on the host can only make it less.
    assert float(small.python(BURN)) < 1.3

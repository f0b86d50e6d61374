"""Groups that stand still: in directories that stand for either version of the kernel's, and in the kernel's own."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.killed_runs import ending_with_us, own_name

from skylift.cloud.compute.server import cgroup, freezer


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    return tmp_path


def test_version_2_says_when_all_stand_still(mount: Path) -> None:
    (mount / "cgroup.controllers").write_text("cpu\n")
    group = mount / "skylift/40/i-1"
    group.mkdir(parents=True)
    (group / "cgroup.freeze").write_text("0")
    events = group / "cgroup.events"
    events.write_text("populated 1\nfrozen 0\n")
    kernel = threading.Timer(0.05, events.write_text, ("populated 1\nfrozen 1\n",))
    kernel.start()
    freezer.freeze("skylift/40/i-1")
    assert "frozen 1" in events.read_text() and (group / "cgroup.freeze").read_text() == "1"
    kernel.join()
    freezer.thaw("skylift/40/i-1")
    assert (group / "cgroup.freeze").read_text() == "0"


def test_what_does_not_stand_still_goes_on(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of version 1 is both: what is read from it is what was written, until a kernel says something else."""
    monkeypatch.setattr(freezer, "PATIENCE", 0.05)
    (mount / "cgroup.controllers").write_text("cpu\n")
    group = mount / "skylift/40/i-1"
    group.mkdir(parents=True)
    (group / "cgroup.freeze").write_text("0")
    (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(freezer.FreezeError, match=r"skylift/40/i-1: .* within 0.05 s"):
        freezer.freeze("skylift/40/i-1")
    assert (group / "cgroup.freeze").read_text() == "0"


@pytest.mark.parametrize("act", [freezer.freeze, freezer.thaw])
def test_a_group_that_is_no_more(mount: Path, act: object) -> None:
    (mount / "freezer").mkdir()
    assert callable(act)
    with pytest.raises(freezer.FreezeError, match="no group skylift/40/i-1"):
        act("skylift/40/i-1")


@pytest.fixture
def crowd() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A group of the kernel's with more processes that compute than there are processors."""
    name = own_name()
    cgroup.make(name, 1000)
    spin = ending_with_us("sh", "-c", "while :; do :; done")
    programs = [subprocess.Popen(spin) for _ in range(4 * (os.cpu_count() or 1))]
    try:
        for hierarchy in cgroup.hierarchies():
            if (hierarchy / name / "freezer.state").exists() or (hierarchy / name / "cgroup.freeze").exists():
                for program in programs:
                    (hierarchy / name / "cgroup.procs").write_text(str(program.pid))
        yield name, programs
    finally:
        for program in programs:
            program.kill()
        freezer.thaw(name)
        for program in programs:
            program.wait()
        cgroup.remove(name)


@pytest.mark.real
def test_a_crowd_that_computes_stands_still(crowd: tuple[str, list[subprocess.Popen[bytes]]]) -> None:
    name, programs = crowd

    def used() -> list[str]:
        return [" ".join(Path(f"/proc/{each.pid}/stat").read_text().split()[13:15]) for each in programs]

    for _ in range(20):
        freezer.freeze(name)
        before = used()
        with pytest.raises(subprocess.TimeoutExpired):
            programs[0].wait(0.05)
        assert used() == before
        freezer.thaw(name)
    with pytest.raises(subprocess.TimeoutExpired):
        programs[0].wait(0.2)
    assert used() != before

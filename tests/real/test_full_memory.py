"""File systems in memory that are full, and processes without end: the server can be reached, and the host goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server
from test_isolation import groups, limit

pytestmark = pytest.mark.real

MIB = 1 << 20
MEMORY = 512 * MIB
"""What a t3.nano has."""

FILL = """
import os, sys
written = 0
for place in sys.argv[1:]:
    try:
        with open(place + "/full", "wb", buffering=0) as file:
            while True:
                written += file.write(bytes(1 << 16))
    except OSError as error:
        assert error.errno == 28, error
    try:
        for number in range(10**6):
            os.symlink("x", f"{place}/{number}")
    except OSError as error:
        assert error.errno == 28, error
print(written)
"""


@pytest.fixture
def server(cloud: RealCloud) -> Iterator[Server]:
    made = cloud.launch(InstanceType="t3.nano", InstanceInitiatedShutdownBehavior="terminate")
    yield made
    made.terminate()


def fill(server: Server, places: str, *, root: bool) -> int:
    """Write until there is no room for a byte or a name more; answers how many bytes there were."""
    return int(server.ssh(f"{'sudo ' if root else ''}python3 - {places}", text=FILL).stdout)


def test_file_systems_in_memory_are_bounded_by_the_type(server: Server) -> None:
    asked = "findmnt --list --noheadings --bytes --types tmpfs --options rw --output TARGET,SIZE"
    sizes = {place: int(size) for place, size in (line.split() for line in server.says(asked).splitlines())}
    assert sizes["/dev/shm"] == MEMORY // 2
    assert sizes["/run"] // 4096 <= MEMORY // 5 // 4096 + 1
    # With version 1 of control groups; a read-only mount lies over it.
    sizes.pop("/sys/fs/cgroup", None)
    assert sum(sizes.values()) < MEMORY * 3 // 4, sizes
    names = server.says("df --output=itotal /dev/shm /run /dev /run/skylift | tail -n +2").split()
    assert sum(map(int, names)) <= MEMORY // 4096, names
    # They count as the server's memory.
    before = limit(server, "memory.usage_in_bytes", "memory.current")
    written = fill(server, "/dev/shm", root=False)
    assert written > MEMORY // 2 - 2 * MIB
    assert limit(server, "memory.usage_in_bytes", "memory.current") > before + written * 9 // 10


def test_a_server_whose_memory_is_full_of_files_is_reached_and_turned_off(server: Server) -> None:
    fill(server, "/dev/shm", root=False)
    assert server.says("echo in") == "in"
    fill(server, "/run /dev", root=True)
    assert server.says("echo in") == "in"
    assert server.says("sudo id -u") == "0"
    assert "No space left" in server.ssh("echo x | sudo tee /run/new", check=False).stderr
    # A job's time limit is such a schedule.
    server.ssh("sudo shutdown -P +60")
    assert server.says("sudo shutdown --show").startswith("Shutdown scheduled")
    server.ssh("sudo shutdown -P now", check=False)
    server.await_state("terminated", 30)


BOMB = """
import os, signal, time
children = []
try:
    while True:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        children.append(child)
except BlockingIOError:
    print(len(children), flush=True)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_all_servers_together_leave_the_host_its_processes(server: Server) -> None:
    """A fork bomb within a bound that is lowered for the test: filling the real one would take the machine's time. It
    is lowered for the servers of this cloud, by the same means: those of other tests come and go."""
    (group,) = (each for each in groups(server) if (each / "pids.max").exists())
    parent = group.parent.parent
    assert (group.parent.name, parent.name) == (str(server.cloud.number), "skylift")
    most = int((parent / "pids.max").read_text())
    for name in ("pid_max", "threads-max"):
        assert most <= int(Path("/proc/sys/kernel", name).read_text()) // 2
    assert int((group / "pids.max").read_text()) <= most // 2
    ours = group.parent
    # Of what there is now, some may end meanwhile: another server of this cloud, the last connection.
    before, lowered = (ours / "pids.max").read_text(), int((ours / "pids.current").read_text()) + 300
    assert lowered < int((group / "pids.max").read_text())
    (ours / "pids.max").write_text(str(lowered))
    try:
        made = int(server.python(BOMB, root=True))
        assert 200 < made < lowered
        # Nobody else is held up by it: it is a bound of the servers, not of the machine.
        assert subprocess.run(["true"], check=False).returncode == 0
    finally:
        (ours / "pids.max").write_text(before)
    assert server.says("echo still here") == "still here"

"""Root in a server is nobody on the host: whose its processes and files are, and what it is bounded by."""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kernel_traces import UIDS
from support.real_cloud import RealCloud
from support.real_server import Server, until

from skylift.cloud.compute.image.stored import STORED

pytestmark = pytest.mark.real

LOWEST_UID = 1_000_000_000
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Iterator[Server]:
    """One that tests may fill and overload, but not end. The smallest type there is."""
    made = cloud.launch(InstanceType="t3.nano")
    yield made
    made.terminate()


@pytest.fixture(scope="module")
def neighbour(cloud: RealCloud) -> Iterator[Server]:
    made = cloud.launch(InstanceType="t2.micro")
    yield made
    made.terminate()


def processes(server: Server) -> list[Path]:
    """Directories in the host's /proc of everything in the server's pid namespace."""
    own = os.readlink(f"/proc/{server.init}/ns/pid")
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and os.readlink(path / "ns/pid") == own:
                found.append(path)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            # It has ended, or belongs to who is above us: these tests may run in a container themselves.
            continue
    return found


def ids(process: Path) -> set[int]:
    """Every uid and gid that it has: real, effective, saved and of the file system; none once it has ended."""
    try:
        lines = (process / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {int(word) for line in lines if line.startswith(("Uid:", "Gid:", "Groups:")) for word in line.split()[1:]}


def uid_range(server: Server) -> range:
    """The host uids of the server's root and of all its other users."""
    inside, outside, size = map(int, Path(f"/proc/{server.init}/uid_map").read_text().split())
    assert (inside, size) == (0, UIDS)
    return range(outside, outside + size)


def limit(server: Server, *names: str) -> int:
    """A limit of the server's cgroup, as the host has it; `names` of the file in version 1 and 2."""
    found = [group / name for name in names for group in groups(server) if (group / name).exists()]
    assert len(found) == 1
    return int(found[0].read_text())


def groups(server: Server) -> list[Path]:
    """Its control groups' directories, by what the kernel says of its first process."""
    found = []
    for line in Path(f"/proc/{server.init}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in (*controllers.split(","), controllers, "unified"):
            place = Path("/sys/fs/cgroup") / name.removeprefix("name=") / path.lstrip("/")
            if place.is_dir() and not any(place.samefile(each) for each in found):
                found.append(place)
    return found


def run_inside(server: Server, command: str, marker: str) -> Path:
    """Leave a process running there, with a word of ours in its arguments; its directory in the host's /proc."""
    server.ssh(f"{command} </dev/null >/dev/null 2>&1 &")

    def has_marker(process: Path) -> bool:
        try:
            return marker in (process / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            # It has ended since it was listed.
            return False

    def found() -> list[Path]:
        return [process for process in processes(server) if has_marker(process)]

    return until(found, f"{marker} to run")[0]


@pytest.fixture
def marker() -> str:
    """A number that no other process sleeps for."""
    return str(10**8 + secrets.randbelow(10**8))


def test_processes_of_its_root_are_nobody_on_the_host(server: Server, marker: str) -> None:
    mine = run_inside(server, f"sudo sleep {marker}", marker)
    allowed = uid_range(server)
    assert allowed.start >= LOWEST_UID
    assert allowed.start in ids(mine)
    seen = processes(server)
    assert mine in seen and len(seen) > 3
    assert set().union(*map(ids, seen)) <= set(allowed)
    for kind in ("user", "mnt", "net", "ipc", "uts", "cgroup", "pid"):
        assert os.readlink(mine / "ns" / kind) != os.readlink(f"/proc/self/ns/{kind}"), kind
    server.ssh(f"sudo pkill -f 'sleep {marker}'")


def test_files_of_its_root_are_nobodys_on_the_host(server: Server) -> None:
    server.ssh("sudo cp /bin/sh /var/tmp/shell && sudo chmod 6755 /var/tmp/shell && touch ~/mine")
    shell = (server.disk / "var/tmp/shell").stat()
    assert stat.S_IMODE(shell.st_mode) == 0o6755
    assert (shell.st_uid, shell.st_gid) == (uid_range(server).start, uid_range(server).start)
    mine = (server.disk / "home/ec2-user/mine").stat()
    assert mine.st_uid == uid_range(server).start + 1000
    # The image is shared by all servers: none of them owns a byte of it.
    assert (server.cloud.home.data.images / server.cloud.image / "root/bin/sh").stat().st_uid == STORED


def test_a_shell_that_it_made_setuid_root_gives_nothing_on_the_host(server: Server) -> None:
    server.ssh("sudo cp /usr/bin/env /var/tmp/env && sudo chmod 4755 /var/tmp/env")
    shell = server.disk / "var/tmp/env"
    asked = subprocess.run([shell, "sh", "-c", "id -u"], capture_output=True, text=True, check=False)
    # Whoever runs it here becomes that nobody, and the directories above it keep everybody but root from trying.
    assert asked.stdout.strip() in {str(uid_range(server).start), "0"}
    assert shell.stat().st_uid == uid_range(server).start
    assert (server.cloud.home.data.instances.stat().st_mode & 0o777) == 0o700


def test_no_file_of_the_host_can_be_read(server: Server) -> None:
    secret = server.cloud.work / f"secret-{secrets.token_hex(8)}"
    secret.write_text("the host's\n")
    secret.chmod(0o644)
    code = """
import os, sys
secret, found = os.environ["SECRET"], []
roots = ["/"] + [f"/proc/{pid}/{way}" for pid in os.listdir("/proc") if pid.isdigit() for way in ("root", "cwd")]
for root in roots:
    for path in (root + secret, root + "/../../../../../.." + secret):
        if os.path.exists(path):
            found.append(path)
print(found, len(roots) > 5)
"""
    assert server.python(code, root=True, SECRET=str(secret)) == "[] True"
    # Not even by a link that leads to it as the host would follow it.
    server.ssh(f"sudo ln -sfn {secret} /var/tmp/link")
    assert server.ssh("sudo cat /var/tmp/link", check=False).returncode == 1


def test_no_process_of_the_host_can_be_seen_or_ended(server: Server, marker: str) -> None:
    with subprocess.Popen(["sleep", marker]) as here:
        try:
            assert marker not in server.says("sudo ps -e -o args")
            assert server.says("sudo ps -p 1 -o comm=") == "tini"
            assert len(server.says("sudo ps -e -o pid=").split()) < 30
            # The number means another process there, or none.
            server.ssh(f"sudo kill -9 {here.pid}", check=False)
            assert here.poll() is None
        finally:
            here.kill()


def test_two_servers_do_not_see_each_other(server: Server, neighbour: Server, marker: str) -> None:
    run_inside(server, f"sudo sleep {marker}", marker)
    assert marker in server.says("ps -e -o args")
    assert marker not in neighbour.says("sudo ps -e -o args")
    assert not set(uid_range(server)) & set(uid_range(neighbour))
    server.ssh(f"sudo touch /var/tmp/{marker} /dev/shm/{marker} /run/{marker} && sudo ipcmk -Q")
    assert neighbour.says("sudo find /var/tmp /dev/shm /run -newer /etc/hostname -name '[0-9]*'") == ""
    assert [line for line in neighbour.says("sudo ipcs -q").splitlines() if line.startswith("0x")] == []
    code = f"""
import errno, os, socket
link = socket.socket(socket.AF_UNIX)
print(errno.errorcode[link.connect_ex(chr(0) + "{marker}")])
"""
    listening = f"import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + '{marker}'); s.listen(); "
    run_inside(server, f'sudo python3 -c "{listening}time.sleep(600)" listen-{marker}', f"listen-{marker}")
    until(lambda: f"@{marker}" in server.says("cat /proc/net/unix"), "the server's socket")
    assert neighbour.python(code, root=True) == "ECONNREFUSED"
    server.ssh(f"sudo pkill -f {marker}")


def test_a_server_forwards_once_its_root_says_so(server: Server) -> None:
    """Beside Docker the host forwards, and a new network namespace has what the host has."""
    asked = "cat /proc/sys/net/ipv4/ip_forward"
    assert server.says(asked) == "0"
    server.says("sudo sysctl -qw net.ipv4.ip_forward=1")
    assert server.says(asked) == "1"
    server.says("sudo sysctl -qw net.ipv4.ip_forward=0")


def test_memory_ends_where_the_type_says(server: Server) -> None:
    assert limit(server, "memory.limit_in_bytes", "memory.max") == 512 * MIB
    greedy = "python3 -c 'print(len(b\"x\" * (700 << 20)))'"
    done = server.ssh(f"{greedy}; echo exit $?")
    assert done.stdout == "exit 137\n"
    # What fits is no trouble, after as before, and the server is the same one.
    assert server.says("python3 -c 'print(len(b\"x\" * (200 << 20)))'") == str(200 << 20)
    assert server.state == "running"
    assert "OOM" not in server.console


def test_processes_are_bounded(neighbour: Server) -> None:
    bound = limit(neighbour, "pids.max")
    assert bound <= 8192
    # Threads count as processes do, and this many of them cost less memory than the server has.
    code = """
import _thread
gate, count = _thread.allocate_lock(), 0
gate.acquire()
_thread.stack_size(65536)
try:
    while count < 70000:
        _thread.start_new_thread(gate.acquire, ())
        count += 1
except RuntimeError as error:
    print(error)
print(count, flush=True)
import os
os._exit(0)
"""
    words, count = neighbour.python(code, root=True).splitlines()
    assert words == "can't start new thread"
    assert bound - 50 < int(count) < bound
    assert neighbour.says("echo still here") == "still here"


def test_processors_are_bounded(server: Server) -> None:
    """Two of them as the type has, or what the host has; the quota is of the kernel's scheduler."""
    found = [
        path for group in groups(server) for path in group.glob("cpu.*") if path.name.startswith(("cpu.max", "cpu.cfs"))
    ]
    by_name = {path.name: path.read_text().split() for path in found}
    if "cpu.max" in by_name:
        quota, length = map(int, by_name["cpu.max"])
    else:
        quota, length = int(by_name["cpu.cfs_quota_us"][0]), int(by_name["cpu.cfs_period_us"][0])
    assert quota / length == min(2, os.cpu_count() or 1)

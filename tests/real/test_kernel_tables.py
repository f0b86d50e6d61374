"""Tables of the kernel that all share: what one server can take of them, and that the host has the rest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.greedy_programs import running, what_the_host_lacks
from support.real_cloud import RealCloud
from support.real_server import Server
from test_isolation import groups, uid_range

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Iterator[Server]:
    made = cloud.launch(InstanceType="t3.micro")
    yield made
    made.terminate()


def neighbours(namespace: str) -> int:
    """Of IPv4 and IPv6, in a network namespace, by the path of it."""
    command = ["nsenter", f"--net={namespace}", "ip", "neigh", "show", "nud", "all"]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def routers(server: Server) -> list[Path]:
    """The namespaces of its cloud's own."""
    found = list(Path("/run/netns").glob(f"skylift-{server.cloud.number}-*"))
    assert found
    return found


def test_a_scan_makes_no_neighbours(server: Server) -> None:
    """Neither in its own namespace nor in its router's: the kernel has a thousand for all namespaces together."""
    with running(server, "neighbours") as said:
        assert int(said[0]) > 2000
        assert neighbours(f"/proc/{server.init}/ns/net") < 20
        assert sum(map(neighbours, map(str, routers(server)))) < 100
        assert what_the_host_lacks() == ""


def test_nothing_is_asked_for_at_its_link(server: Server) -> None:
    """Frames of its root's own making, too: its router learns nobody from them."""
    code = """
import fcntl, os, socket, struct
own = bytes.fromhex(open("/sys/class/net/eth0/address").read().replace(":", ""))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806)) as link:
    link.bind(("eth0", 0x806))
    gateway = socket.inet_aton(os.environ["GATEWAY"])
    for number in range(300):
        asked = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + own + bytes([10, 9, number >> 8, number & 255])
        link.send(b"\\xff" * 6 + own + b"\\x08\\x06" + asked + bytes(6) + gateway)
print("sent")
"""
    gateway = server.says("ip route show default").split()[2]
    assert server.python(code, root=True, GATEWAY=gateway) == "sent"
    assert sum(map(neighbours, map(str, routers(server)))) < 100


def test_no_context_of_asynchronous_io(server: Server) -> None:
    with running(server, "asynchronous I/O") as said:
        assert said == ["0", "ENOSYS"]


def test_what_is_counted_by_user_is_counted_for_each_server(server: Server) -> None:
    """Whatever users its root asks as: the limit is that of the one uid that made its user namespace."""
    with running(server, "inotify") as instances, running(server, "message queues") as queues:
        most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
        assert (0 < int(instances[0]) <= most, instances[1]) == (True, "EMFILE")
        assert (0 < int(queues[0]) <= 10, queues[1]) == (True, "EMFILE")
        assert what_the_host_lacks() == ""
    owner = subprocess.run(
        ["lsns", "--noheadings", "--type", "user", "--output", "UID", "--task", str(server.init)],
        capture_output=True,
        text=True,
        check=True,
    )
    # lsns prints a uid as a signed number of 32 bits.
    assert int(owner.stdout) % (1 << 32) == uid_range(server).start


def test_pseudo_terminals(server: Server) -> None:
    with running(server, "pseudo-terminals") as said:
        assert (200 < int(said[0]) <= 256, said[1]) == (True, "ENOSPC")
        assert what_the_host_lacks() == ""


def test_what_sockets_buffer(server: Server) -> None:
    """With version 1 of control groups it does not count as the server's memory."""
    with running(server, "sockets") as said:
        assert int(said[0]) < 256
        assert what_the_host_lacks() == ""
    with running(server, "datagrams") as said:
        assert (int(said[0]) < 2_000, said[1]) == (True, "EAGAIN")
        assert buffered("UDP") < 256 << 20
        assert what_the_host_lacks() == ""
    apart = [each / "memory.kmem.tcp.limit_in_bytes" for each in groups(server)]
    assert [int(each.read_text()) for each in apart if each.exists()] in ([], [1 << 27])


def test_what_unix_sockets_buffer_is_the_servers_memory(server: Server) -> None:
    before = memory(server)
    with running(server, "unix sockets") as said:
        assert int(said[0]) >= 300
        assert memory(server) - before > 290 << 20


def test_what_system_v_queues_hold_is_the_servers_memory(server: Server) -> None:
    """They outlive the program that has made them."""
    code = """
import ctypes
libc = ctypes.CDLL(None)
message = ctypes.create_string_buffer(b"\\1", 8008)
for _ in range(4000):
    queue = libc.msgget(0, 0o600)
    assert queue >= 0
    assert libc.msgsnd(queue, message, 8000, 0) == libc.msgsnd(queue, message, 8000, 0) == 0
"""
    before = memory(server)
    server.python(code, root=True)
    assert memory(server) - before > 60 << 20


def test_what_nft_rules_hold_is_the_servers_memory(server: Server) -> None:
    """Of its root's own tables. A server has no `nft` until its root installs one: this is the host's, in its place."""
    addresses = ", ".join(f"10.{each >> 16}.{each >> 8 & 255}.{each & 255}" for each in range(200_000))
    table = f"table ip greedy {{ set many {{ type ipv4_addr; elements = {{ {addresses} }}; }}; }}"
    inside = ["nsenter", f"--target={server.init}", "--user", "--net", "nft", "-f", "-"]
    enter = 'for each in $GROUPS_OF_SERVER; do echo $$ > "$each/cgroup.procs"; done; exec "$@"'
    before = memory(server)
    subprocess.run(
        ["sh", "-c", enter, "sh", *inside],
        input=table,
        text=True,
        check=True,
        env={**os.environ, "GROUPS_OF_SERVER": " ".join(map(str, groups(server)))},
    )
    grown = memory(server) - before
    assert grown > 10 << 20, grown


def buffered(protocol: str) -> int:
    """Bytes that all sockets of the machine have, of all namespaces."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        words = line.replace(":", "").split()
        if words[0] == protocol:
            return int(words[words.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")
    raise AssertionError(protocol)


def memory(server: Server) -> int:
    """Bytes that its control group has."""
    names = ("memory.usage_in_bytes", "memory.current")
    found = [each / name for each in groups(server) for name in names if (each / name).exists()]
    return max(int(each.read_text()) for each in found)

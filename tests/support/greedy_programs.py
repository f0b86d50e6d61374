"""Programs that take one of the kernel's tables as far as they can, for a server; and what the host has left of them.

Each program prints one line with what it got, and holds it until its standard input ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from support.real_server import Server

_PROLOGUE = """
import ctypes, errno, os, platform, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
libc = ctypes.CDLL(None, use_errno=True)
def until_refused(take, most):
    count = 0
    while count < most:
        try:
            take(count)
        except OSError as error:
            return count, errno.errorcode[error.errno]
        count += 1
    return count, "no end"
def checked(got):
    if got < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return got
def inotify():
    return checked(libc.inotify_init1(0))
def asynchronous(events):
    number = 206 if platform.machine() == "x86_64" else 0
    context = ctypes.c_ulong(0)
    return checked(libc.syscall(ctypes.c_long(number), ctypes.c_uint(events), ctypes.byref(context)))
def queue(name):
    # O_CREAT | O_RDWR, with the kernel's default of ten messages of 8 KiB each.
    return checked(libc.mq_open(f"/{name}".encode(), 0o102, 0o600, None))
def pty(_):
    return os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
def told(*words):
    print(*words, flush=True)
    sys.stdin.read()
"""

_BY_MANY_USERS = """
def by_many_users(take, users=6):
    # Each user of a server has limits of its own, so that its root asks as several.
    total, last = 0, "no end"
    held = []
    for user in range(users):
        parent, child = socket.socketpair()
        if os.fork() == 0:
            parent.close()
            os.setuid(3000 + user)
            count, why = until_refused(lambda number: take(f"{user}-{number}"), 1000)
            child.send(f"{count} {why}".encode())
            child.recv(1)
            os._exit(0)
        held.append(parent)
        count, last = parent.recv(100).decode().split()
        total += int(count)
    return total, last
"""


@dataclass(frozen=True)
class Greedy:
    """A program, and whether it is the server's root or a user that runs it."""

    code: str
    root: bool = True

    @property
    def whole(self) -> str:
        return _PROLOGUE + _BY_MANY_USERS + self.code


GREEDY = {
    "neighbours": Greedy(
        """
import ipaddress, select
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
    asked.connect(("169.254.169.254", 80))
    own = asked.getsockname()[0]
nets = [*ipaddress.ip_network(f"{own}/22", strict=False).hosts(), *ipaddress.ip_network("239.1.0.0/24").hosts()]
def send(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(b"x", address)
        except OSError:
            pass
link = socket.if_nametoindex("eth0")
def scan():
    for each in nets:
        send(socket.AF_INET, (str(each), 9))
    for number in range(1000):
        send(socket.AF_INET6, (f"fe80::{number + 1:x}", 9, 0, link))
scan()
print(len(nets) + 1000, flush=True)
# The kernel forgets those that do not answer.
while not select.select([sys.stdin], [], [], 1)[0]:
    scan()
""",
        root=False,
    ),
    "asynchronous I/O": Greedy("told(*until_refused(lambda _: asynchronous(1024), 1000))", root=False),
    "inotify": Greedy("told(*by_many_users(lambda _: inotify()))"),
    "message queues": Greedy("told(*by_many_users(queue))"),
    "pseudo-terminals": Greedy("told(*until_refused(pty, 3000))", root=False),
    "sockets": Greedy(
        """
MOST = 400 << 20
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
held, sent, block = [], 0, bytes(1 << 16)
for _ in range(60):
    # Both ends would have to buffer: nobody reads.
    client = socket.create_connection(listener.getsockname())
    held += [client, listener.accept()[0]]
    client.settimeout(0.1)
    try:
        while sent < MOST:
            sent += client.send(block)
    except OSError:
        pass
told(sent >> 20, "MiB")
""",
        root=False,
    ),
    "datagrams": Greedy(
        """
held, block = [], bytes(60_000)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def take(_):
    held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    held[-1].bind(("127.0.0.1", 0))
    for _ in range(3):
        sender.sendto(block, held[-1].getsockname())
    held[-1].recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
got = until_refused(take, 2_000)
# Or else the server's own SSH has none.
del held[: len(held) // 4]
told(*got)
""",
        root=False,
    ),
    "unix sockets": Greedy(
        """
held, sent, block = [], 0, bytes(1 << 15)
while sent < 300 << 20:
    one, other = socket.socketpair()
    held += [one, other]
    one.setblocking(False)
    try:
        while True:
            sent += one.send(block)
    except OSError:
        pass
told(sent >> 20, "MiB")
""",
        root=False,
    ),
    "memory": Greedy(
        """
# The kernel ends who takes too much: somebody else each time.
ends = 0
for _ in range(2):
    child = os.fork()
    if child == 0:
        held = []
        while True:
            held.append(b"x" * (16 << 20))
    ends += os.waitpid(child, 0)[1] != 0
told(ends)
""",
        root=False,
    ),
    "files": Greedy(
        """
os.makedirs("/var/tmp/many", exist_ok=True)
told(*until_refused(lambda number: os.mknod(f"/var/tmp/many/{number}"), 20_000))
""",
        root=False,
    ),
    "locks": Greedy(
        """
import fcntl, tempfile
with tempfile.TemporaryFile() as file:
    told(*until_refused(lambda number: fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * number), 20_000))
""",
        root=False,
    ),
    "pipes": Greedy(
        """
def pipe(_):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.write(writing, bytes(1 << 16))
told(*until_refused(pipe, 500))
""",
        root=False,
    ),
}


@contextmanager
def running(server: Server, name: str) -> Iterator[list[str]]:
    """What the program says, for as long as it holds what it has got."""
    program, file = GREEDY[name], f"/tmp/{name.translate(str.maketrans(' /', '--'))}.py"
    server.ssh(f"cat >{file}", text=program.whole)
    command = [*server.ssh_command(), f"{'sudo ' if program.root else ''}python3 {file}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        yield process.stdout.readline().split()
        process.stdin.close()


# As root, whose limits are those of whoever makes namespaces, and as a user.
_HOST = """
# Before the rights to read it are given up.
import encodings.idna
def neighbours():
    import subprocess
    # A namespace of its own: the table is the kernel's.
    added = "ip neigh add 198.18.0.{} lladdr 02:00:00:00:00:09 nud reachable dev near"
    lines = ["ip link add near type veth peer name far", "ip link set near up", "ip link set far up"]
    script = "\\n".join([*lines, *(added.format(number) for number in range(1, 26))])
    subprocess.run(["unshare", "--net", "sh", "-ec", script], check=True, capture_output=True)
def connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
            client.settimeout(60)
            server.settimeout(60)
            for _ in range(64):
                client.sendall(bytes(1 << 14))
                left = 1 << 14
                while left:
                    left -= len(server.recv(left))
neighbours()
user = int(sys.argv[1])
os.setgroups([])
os.setuid(user)
for number in range(5):
    pty(0)
    inotify()
asynchronous(64)
name = f"skylift-test-{user}-{os.getpid()}"
queue(name)
libc.mq_unlink(f"/{name}".encode())
connection()
"""


def what_the_host_lacks() -> str:
    """The words of the first thing that a program of the host cannot do, as root or as another user; empty if it all
    works."""
    for user in (0, 65534):
        command = [sys.executable, "-I", "-c", _PROLOGUE + _HOST, str(user)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"as {user}: {done.stderr}"
    return ""

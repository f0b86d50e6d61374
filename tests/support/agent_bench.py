"""A stand for the supervisor: the real archives, run as they run on a server, with this machine's kernel as the server.

Its root is a directory of its own; the metadata service is a small HTTP server; S3 is moto's. The commands that turn
a server off are replaced by ones that write down how they were called: nothing here may reach this machine's own.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skylift.client.ship.archive import boot_archive
from support.real_server import until

PATIENCE = 120
"""Seconds after which a wait for what must come is a failure."""
SERVERS_PYTHON = os.environ.get("SKYLIFT_TEST_SERVERS_PYTHON") or sys.executable
"""The supervisor's. See test_old_python.py."""


OFF = """\
#!/bin/sh
words="{name} $*"
read -r facts </proc/$$/stat
set -- $facts
echo "${{22}} $words" >> {file}
"""


class Metadata:
    """IMDSv2, as far as the supervisor asks: a token first, then the instance id and the role's credentials. `more` is
    what else there is, by its path."""

    def __enter__(self) -> Self:
        service = self
        self.instance = "i-0123456789abcdef0"
        self.credentials_handed_out = 0
        self.more: dict[str, bytes] = {
            "/latest/meta-data/instance-type": b"t3.small",
            "/latest/meta-data/instance-life-cycle": b"spot",
        }

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                assert self.path == "/latest/api/token"
                assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
                self._answer(200, b"the-token")

            def do_GET(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token") != "the-token":
                    return self._answer(401, b"")
                role = "/latest/meta-data/iam/security-credentials/"
                if self.path == role:
                    return self._answer(200, b"the-role")
                if self.path == role + "the-role":
                    service.credentials_handed_out += 1
                    return self._answer(200, json.dumps(service.credentials()).encode())
                if self.path == "/latest/meta-data/instance-id":
                    return self._answer(200, service.instance.encode())
                # Looked for once: a test may take it away in any moment.
                found = service.more.get(self.path)
                return self._answer(404, b"") if found is None else self._answer(200, found)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def credentials(self) -> dict[str, str]:
        expires = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "Code": "Success",
            "AccessKeyId": "ASIATEST",
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": expires,
        }

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Machine:
    """One server's root directory and its supervisor process. The login user is `nobody`, when we may become that."""

    def __init__(self, endpoint: str, metadata: Metadata) -> None:
        self._endpoint, self._metadata = endpoint, metadata
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Not pytest's own place, which only its owner may enter: the login user has to get in.
        self.root = Path(tempfile.mkdtemp(prefix="skylift-machine-"))
        self.root.chmod(0o755)
        self.commands = self.root / "off"
        tools = self.root / "tools"
        tools.mkdir()
        for name in ("shutdown", "poweroff"):
            script = tools / name
            script.write_text(OFF.format(name=name, file=self.commands))
            script.chmod(0o755)
        (self.root / "etc" / "ssh").mkdir(parents=True)
        # A server's own PATH: this environment's Python may lie where the login user cannot go.
        path = f"{tools}:/usr/local/bin:/usr/bin:/bin"
        self.environment = {"AWS_ENDPOINT_URL": self._endpoint, "PATH": path}
        home = pwd.getpwnam("nobody").pw_dir.lstrip("/") if os.geteuid() == 0 else str(Path.home()).lstrip("/")
        self.home = self.root / home
        self.home.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(self.home, pwd.getpwnam("nobody").pw_uid, -1)
        self.write_environment()
        return self

    def write_environment(self, **more: str) -> None:
        self.environment.update(more)
        lines = [f'{name}="{value}"\n' for name, value in self.environment.items()]
        (self.root / "etc" / "environment").write_text("".join(lines))

    def show_host_key(self, line: str) -> None:
        (self.root / "etc" / "ssh" / "ssh_host_ed25519_key.pub").write_text(line + "\n")

    def boot(self, arguments: list[str], program: bytes | None = None, interpreter: str = SERVERS_PYTHON) -> None:
        """Start the boot program with the arguments of a boot script (all that follows its own name)."""
        place = self.root / "boot.pyz"
        place.write_bytes(program or boot_archive())
        self.log = (self.root / "console").open("ab")
        self.process = subprocess.Popen(
            [interpreter, str(place), f"--root={self.root}", *arguments, f"--imds={self._metadata.url}", "--poll=0.1"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": self.environment["PATH"]},
        )

    def wait(self) -> None:
        """Until the supervisor has turned its server off."""
        assert self.process is not None
        assert self.process.wait(PATIENCE) == 0, self.console()

    def console(self) -> str:
        return (self.root / "console").read_text(errors="replace")

    def off_commands(self) -> list[str]:
        return [command for _, command in self.timed_off_commands()]

    def timed_off_commands(self) -> list[tuple[int, str]]:
        """Each after the time at which its process began, in the kernel's ticks, and in that order: some of them are
        not waited for, and write down how they were called when they come to it."""
        lines = self.commands.read_text().splitlines() if self.commands.exists() else []
        found = [each.partition(" ") for each in lines]
        return sorted(((int(at), command) for at, _, command in found), key=lambda each: each[0])

    @property
    def supervisors(self) -> list[int]:
        """The process that does the work, whose parent is the keeper; none when it was killed in this moment."""
        assert self.process is not None
        return [child for child in children_of(self.process.pid) if b"boot.pyz" in cmdline(child)]

    def lose_supervisor(self) -> None:
        """As by `kill -9`; another one is there when this returns."""
        (lost,) = until(lambda: self.supervisors, "the supervisor")
        os.kill(lost, signal.SIGKILL)
        until(lambda: self.supervisors not in ([], [lost]), "a successor")

    def go_off(self) -> None:
        """The server loses its power: everything at once, and what is in memory."""
        self.kill()
        shutil.rmtree(self.root / "run")

    @property
    def pairs(self) -> set[int]:
        """Keepers and supervisors, whoever is their parent."""
        return {int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit() and self._is_ours(each.name)}

    def _is_ours(self, pid: str) -> bool:
        """Also a map's own process, which is told its options as JSON."""
        command = cmdline(int(pid))
        return f"--root={self.root}".encode() in command.split(b"\0") or f'"root": "{self.root}"'.encode() in command

    def kill(self) -> None:
        """The keeper, the supervisor and whatever they started, which are sessions. All at once, as a server goes:
        nobody must see another one end."""
        if self.process is not None:
            started = descendants_of(self.process.pid)
            for pid in [self.process.pid, *started]:
                stop(pid)
            for pid in [*started, self.process.pid]:
                kill_session(pid)
            for pid in self.pairs:
                kill_session(pid)
                for child in children_of(pid):
                    kill_session(child)
            self.process.kill()
            self.process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        # A program whose keeper is dead is nobody's child any more; it still stands in its folder.
        for pid in those_in(self.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # What is killed may still be at the end of a write.
        until(lambda: not those_in(self.root) and not self.pairs, "everybody to be gone")
        shutil.rmtree(self.root)


def those_in(folder: Path) -> list[int]:
    """Processes that have their working directory in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
            except OSError:
                # It has gone, or is not ours; or it is another test's, in folders too deep for the kernel to tell.
                continue
            if where.is_relative_to(folder):
                found.append(int(entry.name))
    return found


def children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def descendants_of(parent: int) -> list[int]:
    children = children_of(parent)
    return [*children, *(pid for child in children for pid in descendants_of(child))]


def stop(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def kill_session(leader: int) -> None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == leader:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue


class Door:
    """The supervisor's socket, from the outside."""

    def __init__(self, path: Path) -> None:
        self._socket = until(lambda: _connected(path), f"the socket {path}")
        self._reader = self._socket.makefile("rb")

    def send(self, **order: object) -> None:
        self._socket.sendall(json.dumps(order).encode() + b"\n")

    def frames(self) -> Iterator[tuple[str, bytes]]:
        while header := self._reader.read(5):
            kind, length = struct.unpack(">cI", header)
            yield kind.decode(), self._reader.read(length)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def _connected(path: Path) -> socket.socket | None:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        found.close()
        return None
    found.settimeout(PATIENCE)
    return found


def boot_arguments(user_data: str) -> tuple[bytes, list[str]]:
    """The boot program and its arguments out of a boot script, as a server would run them."""
    lines = user_data.splitlines()
    argv = next(ast.literal_eval(line.removeprefix("argv = ")) for line in lines if line.startswith("argv = "))
    packed = next(line.split('b85decode("')[1].split('"')[0] for line in lines if "b85decode" in line)
    return zlib.decompress(base64.b85decode(packed)), argv[2:]

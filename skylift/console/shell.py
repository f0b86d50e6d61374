"""Shells on servers. They live here, not in a page, so that a page which is loaded again finds them as they were.

As with EC2 Instance Connect, each has a key of its own, which the server takes for a minute. Its private half is in a
temporary directory of ours until the shell ends, and never in a browser.
"""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skylift.client.errors import RunError, UsageError
from skylift.client.job.commands import file_option
from skylift.console import call as calls
from skylift.console.port import Port
from skylift.console.scrollback import Scrollback

_PIECE = 1 << 16
_PATIENCE, _PAUSE = 20.0, 0.2
"""Seconds in which a server that has just started takes connections, and between two tries."""
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_HOST_KEY = re.compile(r"\b((?:ssh-ed25519|ecdsa-sha2-nistp256|ssh-rsa) [A-Za-z0-9+/=]+)")


class NoHostKeys(RunError):
    """A server that has just started writes them soon."""


@dataclass(frozen=True)
class ShellTarget:
    """A server as OpenSSH gets at it."""

    instance: str
    address: str
    user: str
    host_keys: tuple[str, ...]


def find_target(port: Port, instance: str, user: str) -> ShellTarget:
    """Raises SkyliftError where no shell can be had."""
    if not _USER.fullmatch(user):
        raise UsageError(f"{user!r} is not the name of a user.", "A name is like ec2-user, admin or ubuntu.")
    row = port.instance(instance).row
    if row.state != "running":
        raise UsageError(f"{instance} is {row.state}; a shell needs a running instance.", "Start it, and connect then.")
    if not row.public:
        raise UsageError(
            f"{instance} has no public IPv4 address, so it cannot be reached from here.",
            "Give it an Elastic IP address, or go through an instance of its VPC that has one (ssh -J).",
        )
    return ShellTarget(instance, row.public, user, host_keys(port.console_output(instance), instance))


def host_keys(console: str, instance: str) -> tuple[str, ...]:
    """The server's SSH host keys, as it has written them on its console. Raises NoHostKeys where there are none yet."""
    shown = console.rpartition("BEGIN SSH HOST KEY KEYS-----")[2].partition("-----END SSH HOST KEY KEYS")[0]
    found = tuple(_HOST_KEY.findall(shown))
    if not found:
        raise NoHostKeys(
            f"{instance} has not written its host keys on its console yet, so that it cannot be told from another one.",
            "Try again in a moment; on AWS it may take some minutes after a start.",
        )
    return found


def reach_ssh(address: str) -> None:
    """Until the server takes connections. Raises RunError, and says what may be in the way."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection((address, 22), timeout=10).close()
        except ConnectionRefusedError:
            # Its sshd is about to start.
            if time.monotonic() > until:
                raise RunError(
                    f"No SSH server listens at {address}, port 22.", "Its console output may say why."
                ) from None
        except OSError as error:
            raise RunError(
                f"{address} does not answer at port 22: {error.strerror or error}.",
                "Its security group has to let SSH in from this machine, and its subnet has to have a way out.",
            ) from None
        else:
            return
        time.sleep(_PAUSE)


def ssh_command(target: ShellTarget, folder: Path) -> list[str]:
    """OpenSSH's client, with nothing of this user's settings."""
    settings = {
        "IdentityFile": file_option(folder / "key"),
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": file_option(folder / "known_hosts"),
        "ConnectTimeout": "10",
        "ServerAliveInterval": "15",
        "SetEnv": "LANG=C.UTF-8",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-tt", *options, "--", f"{target.user}@{target.address}"]


class Shell:
    """OpenSSH on a pseudo terminal."""

    def __init__(self, number: int, target: ShellTarget) -> None:
        self.number, self.target = number, target
        self.text = Scrollback()
        self.over = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def start(self, port: Port) -> None:
        """In a thread. Raises SkyliftError; nothing is left of the shell then."""
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="skylift-shell-")
            try:
                self._start(port, Path(self._folder.name))
            except BaseException:
                self._folder.cleanup()
                raise
        except OSError as error:
            where = f" at {error.filename}" if error.filename else ""
            advice = "It needs a temporary directory with room in it (TMPDIR), and a pseudo terminal."
            raise RunError(f"The shell cannot be started on this machine{where}: {error.strerror}.", advice) from None

    def _start(self, port: Port, folder: Path) -> None:
        _make_key(folder / "key")
        known = "".join(f"{self.target.address} {key}\n" for key in self.target.host_keys)
        (folder / "known_hosts").write_text(known)
        public = (folder / "key.pub").read_text().strip()
        port.perform(calls.send_key(self.target.instance, self.target.user, public))
        self._terminal, other = pty.openpty()
        try:
            self._process = subprocess.Popen(
                ssh_command(self.target, folder),
                stdin=other,
                stdout=other,
                stderr=other,
                start_new_session=True,
                env={**os.environ, "TERM": "xterm-256color"},
            )
        except OSError as error:
            os.close(self._terminal)
            raise _not_started("ssh", error) from None
        finally:
            os.close(other)
        os.set_blocking(self._terminal, False)

    def watch(self) -> None:
        """In the event loop, once it has started."""
        asyncio.get_running_loop().add_reader(self._terminal, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._terminal, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.text.append(self._decoder.decode(data))
        else:
            self.end()

    def write(self, text: str) -> None:
        """What was typed. A program that reads nothing loses what its terminal has no room for."""
        if not self.over:
            with suppress(BlockingIOError, OSError):
                os.write(self._terminal, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        if not self.over and 1 <= rows <= 1000 and 1 <= columns <= 1000:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            # The kernel tells those whose own terminal it is, and this one is nobody's.
            self._process.send_signal(signal.SIGWINCH)

    def end(self) -> None:
        if self.over:
            return
        self.over = True
        asyncio.get_running_loop().remove_reader(self._terminal)
        os.close(self._terminal)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGHUP)
        asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        self._folder.cleanup()
        self.text.append("\r\n\x1b[2m[The shell has ended.]\x1b[0m\r\n")


def _make_key(file: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "skylift console", "-f", str(file)]
    try:
        done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise _not_started("ssh-keygen", error) from None
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise RunError(
            f"ssh-keygen has made no key for the shell: {reason}", "It writes the key to a temporary directory."
        )


def _not_started(program: str, error: OSError) -> RunError:
    advice = "Install OpenSSH's client on this machine: openssh-client." if isinstance(error, FileNotFoundError) else ""
    return RunError(f"{program} cannot be started on this machine: {error.strerror}.", advice)


class Shells:
    """All shells of this console, by instance. `reach` waits until a server takes connections."""

    def __init__(self, port: Port, reach: Callable[[str], None] = reach_ssh) -> None:
        self._port, self._reach = port, reach
        self._shells: dict[int, Shell] = {}
        self._next = 1

    def of(self, instance: str) -> list[Shell]:
        return [each for each in self._shells.values() if each.target.instance == instance]

    async def open(self, instance: str, user: str) -> Shell:
        """Raises SkyliftError."""
        target = await self._find(instance, user)
        await asyncio.to_thread(self._reach, target.address)
        number = self._next
        self._next += 1
        shell = Shell(number, target)
        await asyncio.to_thread(shell.start, self._port)
        shell.watch()
        self._shells[number] = shell
        return shell

    async def _find(self, instance: str, user: str) -> ShellTarget:
        until = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            try:
                return await asyncio.to_thread(find_target, self._port, instance, user)
            except NoHostKeys:
                # On AWS it takes minutes: whoever waits is told.
                if self._port.settings.billed or asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(_PAUSE)

    def close(self, shell: Shell) -> None:
        shell.end()
        self._shells.pop(shell.number, None)

    def close_all(self) -> None:
        for shell in list(self._shells.values()):
            self.close(shell)

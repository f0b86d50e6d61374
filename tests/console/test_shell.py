"""Shells: to whom, and with which command. Real ones are in tests/real."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skylift.client.errors import RunError, UsageError
from skylift.console.port import InstanceDetail, Port
from skylift.console.rows import InstanceRow
from skylift.console.shell import NoHostKeys, Shell, Shells, ShellTarget, find_target, host_keys, ssh_command

KEYS = """
-----BEGIN SSH HOST KEY KEYS-----
ecdsa-sha2-nistp256 AAAAE2Vj= root@ip-10-0-0-1
ssh-ed25519 AAAAC3Nz root@ip-10-0-0-1
-----END SSH HOST KEY KEYS-----
"""


def row(**different: Any) -> InstanceRow:
    known = dict.fromkeys(InstanceRow.__dataclass_fields__, "")
    return InstanceRow(**{**known, "id": "i-1", "state": "running", "public": "127.50.1.1", "cost": None, **different})


class Described:
    """A port with one instance."""

    def __init__(self, found: InstanceRow, console: str = KEYS) -> None:
        self._row, self.console = found, console
        self.looks = 0
        self.settings = SimpleNamespace(billed=False)

    def instance(self, instance: str) -> InstanceDetail:
        return InstanceDetail(self._row, (), (), (), (), (), (), ())

    def console_output(self, instance: str) -> str:
        self.looks += 1
        return self.console

    def perform(self, call: Any) -> None:
        """It has the key."""


def find(found: InstanceRow, console: str = KEYS, user: str = "ec2-user") -> ShellTarget:
    return find_target(cast(Port, Described(found, console)), "i-1", user)


def test_a_running_instance_is_known_by_its_host_keys() -> None:
    target = find(row())
    assert target.host_keys == ("ecdsa-sha2-nistp256 AAAAE2Vj=", "ssh-ed25519 AAAAC3Nz")
    words = ssh_command(target, Path("/tmp/shell"))
    assert words[-2:] == ["--", "ec2-user@127.50.1.1"]
    assert "StrictHostKeyChecking=yes" in words
    assert "SetEnv=LANG=C.UTF-8" in words


@pytest.mark.parametrize("user", ["", "-oProxyCommand=x", "a b", "root@evil", "Ü", "a" * 33, "x\n"])
def test_a_user_is_a_name(user: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a user"):
        find(row(), user=user)


def test_what_cannot_be_connected_to_says_why() -> None:
    with pytest.raises(UsageError, match="is stopped"):
        find(row(state="stopped"))
    with pytest.raises(UsageError, match="no public IPv4 address"):
        find(row(public=""))
    with pytest.raises(RunError, match="has not written its host keys"):
        find(row(), console="booting")


def test_only_what_the_last_boot_has_written_counts_and_only_keys_do() -> None:
    earlier = KEYS.replace("AAAAC3Nz", "AAAAolder")
    assert host_keys(earlier + KEYS, "i-1")[1] == "ssh-ed25519 AAAAC3Nz"
    hostile = "-----BEGIN SSH HOST KEY KEYS-----\n@cert-authority * ssh-ed25519 AAAA\x1b[2J\n-----END SSH HOST KEY KEYS"
    assert host_keys(hostile, "i-1") == ("ssh-ed25519 AAAA",)


KEYGEN = """#!/bin/sh
for last; do :; done
echo private > "$last"; echo public > "$last.pub"
"""


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({}, "ssh-keygen cannot be started on this machine: No such file or directory."),
        ({"ssh-keygen": "#!/bin/sh\necho No space left. >&2; exit 1\n"}, "no key for the shell: No space left."),
        ({"ssh-keygen": "#!/bin/sh\nexit 3\n"}, "no key for the shell: exit code 3"),
        ({"ssh-keygen": KEYGEN}, "ssh cannot be started on this machine: No such file or directory."),
    ],
)
def test_a_machine_without_openssh_is_told_of(
    programs: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an error that the page shows. Neither key nor terminal is left."""
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    monkeypatch.setenv("PATH", str(tmp_path))
    shells = Shells(cast(Port, Described(row())), lambda _: None)
    before = terminals()
    with pytest.raises(RunError, match=message):
        asyncio.run(shells.open("i-1", "ec2-user"))
    assert terminals() == before
    assert list(folders.iterdir()) == []
    assert shells.of("i-1") == []


SIZED = f"""#!{sys.executable}
import os, signal
signal.signal(signal.SIGWINCH, lambda *_: print("size", *os.get_terminal_size(0), flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


async def test_a_program_that_runs_hears_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenSSH, which tells the server: a page that comes late, and one that is made larger."""
    for name, text in {"ssh-keygen": KEYGEN, "ssh": SIZED}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    shells = Shells(cast(Port, Described(row())), lambda _: None)
    shell = await shells.open("i-1", "ec2-user")
    try:
        await shows(shell, "ready")
        shell.resize(40, 130)
        await shows(shell, "size 130 40")
        shell.resize(24, 80)
        await shows(shell, "size 80 24")
    finally:
        # The loop ends after the thread that waits for the program.
        shells.close(shell)
    # The page may tell one more.
    shell.resize(40, 130)


async def shows(shell: Shell, words: str) -> None:
    async with asyncio.timeout(30):
        while words not in shell.text.read(0, 1 << 16)[0]:
            await shell.text.wait(shell.text.end, 30)


PTMX = os.makedev(5, 2)


def terminals() -> int:
    """How many pseudo terminals this process has."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the list itself
            # By its device: another test may have a file open whose path is too long for a link.
            found += each.stat().st_rdev == PTMX
    return found


def test_a_machine_whose_temporary_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RunError, match=r"cannot be started on this machine at .*/gone/.*: No such file"):
        asyncio.run(Shells(cast(Port, Described(row())), lambda _: None).open("i-1", "ec2-user"))


async def test_a_server_that_has_just_started_is_waited_for() -> None:
    """Its host keys come first, and then its sshd; whoever is refused for good is told where to look."""
    described = Described(row(), console="booting")
    reached: list[str] = []

    def refuse(address: str) -> None:
        reached.append(address)
        raise RunError("No SSH server listens.")

    shells = Shells(cast(Port, described), refuse)
    opening = asyncio.create_task(shells.open("i-1", "ec2-user"))
    while not described.looks:
        await asyncio.sleep(0)
    described.console = KEYS
    with pytest.raises(RunError, match="No SSH server listens"):
        await opening
    assert reached == ["127.50.1.1"]
    described.settings.billed, described.console = True, "booting"
    with pytest.raises(NoHostKeys):
        await shells.open("i-1", "ec2-user")

"""Shells: to whom, and with which command. Real ones are in tests/real."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from skylift.console.port import InstanceDetail, Port
from skylift.console.rows import InstanceRow
from skylift.console.shell import Target, find_target, host_keys, ssh_command
from skylift.runner.errors import RunError, UsageError

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
        self._row, self._console = found, console

    def instance(self, instance: str) -> InstanceDetail:
        return InstanceDetail(self._row, (), (), (), (), (), ())

    def console_output(self, instance: str) -> str:
        return self._console


def find(found: InstanceRow, console: str = KEYS, user: str = "ec2-user") -> Target:
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

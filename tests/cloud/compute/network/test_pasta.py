"""pasta's command, what AppArmor says of it, and whether it starts here."""

from __future__ import annotations

import os
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from skylift.cloud.compute.network import pasta
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.network import loopback_ranges, try_way_out
from skylift.cloud.compute.network.uplink import uplink_name

READABLE = {
    "Debian 12": ("/run/user/0/netns/*",),
    "Ubuntu 24.04": ("/run/user/0/netns/*",),
    "Debian 13": ("/run/user/0/*", "/tmp/*"),
}
"""Where the profile in the source of passt of these releases lets pasta read the file of a namespace."""


@pytest.mark.parametrize("release", READABLE)
def test_pasta_finds_its_namespaces_where_the_profile_lets_it_read(release: str) -> None:
    command = pasta.pasta_command(LoopbackRange(7, "", 0), network=4, owner=5, connections=256)
    for option in ("--userns", "--netns"):
        path = command[command.index(option) + 1]
        assert any(fnmatchcase(path, pattern) for pattern in READABLE[release])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            '5,900,1,-;audit: type=1400 audit(1.2:3): apparmor="DENIED" operation="open" class="file" profile="pasta" '
            'name="/dev/net/user" pid=9 comm="pasta.avx2" requested_mask="r" denied_mask="r" fsuid=0 ouid=0',
            "denies it /dev/net/user;",
        ),
        ('5,9,1,-;apparmor="DENIED" operation="create" profile="passt" pid=9 comm="pasta.avx2"', "denies it;"),
        ('5,9,1,-;apparmor="DENIED" operation="open" profile="runc" name="/x" pid=9', ""),
        ('5,9,1,-;apparmor="ALLOWED" operation="open" profile="pasta" name="/x" pid=9', ""),
    ],
)
def test_a_denial_of_apparmor_is_told_with_what_was_denied(
    line: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kmsg"
    os.mkfifo(kept)
    # As with the kernel's own: what is there is read without waiting, and then there is no more.
    writer = os.open(kept, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, line.encode())
    monkeypatch.setattr(pasta, "_KERNEL_LOG", kept)
    try:
        said = pasta.denial()
    finally:
        os.close(writer)
    assert (what in said) if what else not said
    assert not what or "sudo apparmor_parser -R /etc/apparmor.d/usr.bin.pasta" in said


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[LoopbackRange]:
    """The ranges that a namespace is made for."""
    made: list[LoopbackRange] = []
    make = pasta.create_uplink_namespace

    def noted(loopback: LoopbackRange, name: str) -> None:
        made.append(loopback)
        make(loopback, name)

    monkeypatch.setattr(pasta, "create_uplink_namespace", noted)
    return made


@pytest.mark.real
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_way_out_is_tried_and_nothing_of_it_stays(mask: int, tried: list[LoopbackRange]) -> None:
    before = os.umask(mask)
    try:
        assert try_way_out() == ""
    finally:
        os.umask(before)
    assert len(tried) == 1
    assert nothing_is_left(tried)


@pytest.mark.real
def test_a_pasta_that_does_not_start_is_told(tried: list[LoopbackRange], monkeypatch: pytest.MonkeyPatch) -> None:
    found = pasta._program
    monkeypatch.setattr(pasta, "_program", lambda name, of: "/bin/false" if name == "pasta" else found(name, of))
    assert try_way_out().startswith("pasta: ")
    assert nothing_is_left(tried)


def nothing_is_left(tried: list[LoopbackRange]) -> bool:
    """A cloud of another test may have the number by now, for a home of its own."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    homes = {each.number: each.home for each in loopback_ranges().all()}
    return all(
        homes.get(each.number) != each.home and (each.number in homes or uplink_name(each) not in listed)
        for each in tried
    )

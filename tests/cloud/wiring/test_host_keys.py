from __future__ import annotations

import asyncssh

from skylift.cloud.wiring.host_keys import host_keys


def test_a_server_gets_two_keys_of_its_own_and_the_note_that_says_whose_they_are() -> None:
    files = {file.path: file for file in host_keys("i-1", "ip-10-0-0-5.ec2.internal")}
    assert files.pop("/var/lib/cloud/data/host-keys").content == b"i-1\n"
    kinds = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256"}
    assert files.keys() == {f"/etc/ssh/ssh_host_{kind}_key{end}" for kind in kinds for end in ("", ".pub")}
    for kind, algorithm in kinds.items():
        private, public = files[f"/etc/ssh/ssh_host_{kind}_key"], files[f"/etc/ssh/ssh_host_{kind}_key.pub"]
        assert (private.mode, public.mode) == (0o600, 0o644)
        words = public.content.decode().split(" ")
        assert words[0] == algorithm and words[2] == "root@ip-10-0-0-5.ec2.internal\n"
        read = asyncssh.import_private_key(private.content).export_public_key()
        assert read.split()[:2] == public.content.split()[:2]


def test_no_two_servers_have_the_same_keys() -> None:
    keys = [file.content for name in ("i-1", "i-2") for file in host_keys(name, "a") if file.path.endswith("_key")]
    assert len(set(keys)) == 4

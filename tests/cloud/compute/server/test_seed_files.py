from __future__ import annotations

from skylift.cloud.compute.server.rootfs import SeedFile
from skylift.cloud.compute.server.seed_files import Inheritance, seed_files


def seed(*name_servers: str, search: str = "ec2.internal", **environment: str) -> dict[str, SeedFile]:
    files = seed_files(
        instance_id="i-1",
        hostname="ip-10-0-1-5.ec2.internal",
        private_ip="10.0.1.5",
        name_servers=name_servers or ["10.0.0.2"],
        search=search,
        region="us-east-1",
        public_key="ssh-ed25519 AAAA me\n",
        user_data=b"#!/bin/sh\n",
        inheritance=Inheritance(environment, {"/etc/pip.conf": b"[global]\n"}),
    )
    return {file.path: file for file in files}


def environment_of(files: dict[str, SeedFile]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in files["/etc/environment"].content.decode().splitlines())


def test_names_and_resolver() -> None:
    files = seed()
    assert files["/etc/hostname"].content == b"ip-10-0-1-5.ec2.internal\n"
    assert b"10.0.1.5 ip-10-0-1-5.ec2.internal ip-10-0-1-5\n" in files["/etc/hosts"].content
    assert files["/etc/resolv.conf"].content.startswith(b"nameserver 10.0.0.2\nsearch ec2.internal\n")


def test_what_dhcp_options_say_is_told_at_each_boot() -> None:
    told = seed("10.0.0.9", "192.0.2.53", search="corp.example lab.example")["/etc/resolv.conf"]
    lines = told.content.decode().splitlines()
    assert lines[:3] == ["nameserver 10.0.0.9", "nameserver 192.0.2.53", "search corp.example lab.example"]
    assert "/etc/resolv.conf" in {path for path, file in seed().items() if file.each_boot}
    assert b"search" not in seed(search="")["/etc/resolv.conf"].content


def test_the_key_opens_the_login_user_only() -> None:
    key = seed()["/home/ec2-user/.ssh/authorized_keys"]
    assert (key.content, key.mode, key.uid, key.gid) == (b"ssh-ed25519 AAAA me\n", 0o600, 1000, 1000)


def test_the_endpoint_is_never_reached_through_a_proxy() -> None:
    variables = environment_of(seed(HTTPS_PROXY="http://proxy:3128", no_proxy="intranet"))
    assert variables["AWS_ENDPOINT_URL"] == "http://169.254.169.252"
    assert variables["HTTPS_PROXY"] == "http://proxy:3128"
    exempt = variables["NO_PROXY"].split(",")
    assert variables["no_proxy"] == variables["NO_PROXY"]
    assert {"intranet", "169.254.169.252", "169.254.169.254"} <= set(exempt)


def test_credentials_are_waited_for_where_the_machine_is_busy() -> None:
    variables = environment_of(seed())
    assert int(variables["AWS_METADATA_SERVICE_TIMEOUT"]) > 1
    assert int(variables["AWS_METADATA_SERVICE_NUM_ATTEMPTS"]) > 1


def test_a_value_of_several_lines_cannot_add_variables() -> None:
    assert "EVIL" not in environment_of(seed(ODD="a\nEVIL=b"))


def test_user_data_is_roots_and_as_it_is_by_now() -> None:
    told = seed()["/var/lib/cloud/seed/user-data"]
    assert (told.content, told.mode, told.uid, told.each_boot) == (b"#!/bin/sh\n", 0o600, 0, True)

from __future__ import annotations

from skylift.cloud.compute.rootfs import SeedFile
from skylift.cloud.compute.seed import Inheritance, seed_files


def seed(**environment: str) -> dict[str, SeedFile]:
    files = seed_files(
        instance_id="i-1",
        hostname="ip-10-0-1-5.ec2.internal",
        private_ip="10.0.1.5",
        dns="10.0.0.2",
        region="us-east-1",
        public_key="ssh-ed25519 AAAA me\n",
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


def test_a_value_of_several_lines_cannot_add_variables() -> None:
    assert "EVIL" not in environment_of(seed(ODD="a\nEVIL=b"))

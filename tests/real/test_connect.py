"""Connecting to a server as a course on EC2 does: by its key, by a key sent for a minute, by an image's parameter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Server:
    return cloud.launch(ImageId=f"resolve:ssm:{AL2023}")


@pytest.fixture
def fresh_key(tmp_path: Path) -> Path:
    file = tmp_path / "fresh"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file


def enter(server: Server, key: Path, user: str = "ec2-user") -> subprocess.CompletedProcess[str]:
    """`id -un` with this key alone."""
    command = server.ssh_command()
    command[command.index("-i") + 1] = str(key)
    command[-1] = f"{user}@{server.public_ip}"
    return subprocess.run([*command, "id -un"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def send(server: Server, key: Path, user: str = "ec2-user") -> None:
    connect = server.cloud.client("ec2-instance-connect")
    public = key.with_suffix(".pub").read_text()
    assert connect.send_ssh_public_key(InstanceId=server.id, InstanceOSUser=user, SSHPublicKey=public)["Success"]


def test_the_public_parameter_names_the_image_that_servers_start_from(cloud: RealCloud, server: Server) -> None:
    value = cloud.client("ssm").get_parameter(Name=AL2023)["Parameter"]["Value"]
    assert server.describe()["ImageId"] == value
    assert "not an AWS image" in cloud.ec2.describe_images(ImageIds=[value])["Images"][0]["Description"]


def test_a_key_that_was_sent_lets_its_owner_in_and_nobody_else(server: Server, fresh_key: Path) -> None:
    assert "Permission denied" in enter(server, fresh_key).stderr
    server.ssh("sudo useradd --create-home guest", check=True)
    send(server, fresh_key)
    entered = enter(server, fresh_key)
    assert (entered.returncode, entered.stdout) == (0, "ec2-user\n"), entered.stderr
    assert "Permission denied" in enter(server, fresh_key, "guest").stderr
    send(server, fresh_key, "guest")
    assert enter(server, fresh_key, "guest").stdout == "guest\n"


def test_the_key_is_forgotten_after_a_minute(server: Server, fresh_key: Path) -> None:
    send(server, fresh_key)
    assert enter(server, fresh_key).returncode == 0
    until(lambda: "Permission denied" in enter(server, fresh_key).stderr, "the key to be forgotten", patience=120)
    # The key pair of the launch is for good.
    assert server.says("id -un") == "ec2-user"


def test_a_server_that_is_stopped_cannot_be_connected_to(cloud: RealCloud, fresh_key: Path) -> None:
    own = cloud.launch()
    cloud.ec2.stop_instances(InstanceIds=[own.id])
    own.await_state("stopped")
    with pytest.raises(ClientError, match="EC2InstanceStateInvalidException"):
        send(own, fresh_key)
    own.terminate()


def test_the_steps_that_are_printed_lead_in(cloud: RealCloud, server: Server) -> None:
    cloud.ec2.create_tags(Resources=[server.id], Tags=[{"Key": "Name", "Value": "my server"}])
    printed = cloud.skylift("cloud", "connect", server.id).stdout
    assert cloud.skylift("cloud", "connect", "my server").stdout == printed
    commands = [line.strip() for line in printed.splitlines() if line.startswith("     ")]
    assert commands == ["chmod 400 tests.pem", f"ssh -i tests.pem ec2-user@{server.public_ip}"]
    known = subprocess.run(["ssh-keygen", "-l", "-f", server.known_hosts], capture_output=True, text=True, check=True)
    (fingerprint,) = [line.split()[1] for line in known.stdout.splitlines() if "(ED25519)" in line]
    assert fingerprint in printed
    # The command as it was printed, with what makes a test of it: no question is asked.
    script = " && ".join(commands).replace(
        "ssh -i",
        f"ssh -F /dev/null -o BatchMode=yes -o HostKeyAlias={server.id} -o UserKnownHostsFile={server.known_hosts} -i",
    )
    done = subprocess.run(
        ["sh", "-c", f"{script} id -un"], capture_output=True, text=True, check=False, cwd=cloud.key_file.parent
    )
    assert done.stdout == "ec2-user\n", done.stderr


def test_what_cannot_be_connected_to_is_said(cloud: RealCloud) -> None:
    def refused(name: str) -> str:
        done = cloud.skylift("cloud", "connect", name, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert "no instance with the id i-00000000000000000" in refused("i-00000000000000000")
    assert "no instance called nobody" in refused("nobody")
    interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": False, "Groups": [cloud.ssh_only]}
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "twin"}]}]
    hidden = cloud.start(NetworkInterfaces=[interface], TagSpecifications=tags)
    hidden.await_state("running")
    assert "no public IPv4 address" in refused(hidden.id)
    twin = cloud.start(TagSpecifications=tags)
    assert hidden.id in refused("twin")
    twin.terminate()
    cloud.ec2.stop_instances(InstanceIds=[hidden.id])
    hidden.await_state("stopped")
    assert "start-instances" in refused("twin")
    hidden.terminate()
    assert "terminated" in refused(hidden.id)

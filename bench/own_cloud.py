"""A cloud for one measurement: state in a directory of its own, up at the start, down and gone at the end."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from ssh_way import await_banner, ssh_argv

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.state.home import Home, default_home

EXAMPLES = Path(__file__).parent.parent / "examples"
SKYLIFT = (sys.executable, "-P", "-m", "skylift.cli.main")


def add_images_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images-of",
        type=Path,
        default=default_home().path,
        metavar="HOME",
        help="state directory whose user's image is used",
    )


@contextmanager
def fresh_home(images_of: Path) -> Iterator[Home]:
    """A state directory with nothing in it but the image, and whatever was started in it taken down at the end."""
    if default_image(Home(images_of).data) is None:
        raise SystemExit(f"{images_of} has no image of this version: `skylift setup` builds it.")
    # Ended from outside, by `timeout` for one, a measurement cleans up as well.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="skylift-bench-") as directory:
        home = Home(Path(directory))
        try:
            yield home
        finally:
            skylift(home, "cloud", "down", "--erase", "--yes")


@contextmanager
def cloud_up(images_of: Path) -> Iterator[Home]:
    with fresh_home(images_of) as home:
        skylift(home, "cloud", "up")
        yield home


def skylift(home: Home, *arguments: str) -> str:
    """What the command line prints, run as a user runs it."""
    command = [*SKYLIFT, *arguments]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout


def environment(home: Home) -> dict[str, str]:
    """A user's modules have been compiled when they were installed, so ours are at the first run."""
    compiling = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**compiling, "SKYLIFT_HOME": str(home.path)}


def aws_environment(home: Home) -> dict[str, str]:
    """What an AWS CLI needs besides, with the account root's key."""
    endpoint, key = home.endpoint(), home.root_key()
    assert endpoint is not None and key is not None
    return environment(home) | {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_DEFAULT_REGION": endpoint.region,
        "AWS_ENDPOINT_URL": endpoint.url,
    }


def client(home: Home, service: str) -> Any:
    """boto3's client with the account root's key."""
    endpoint, key = home.endpoint(), home.root_key()
    assert endpoint is not None and key is not None
    return boto3.client(
        service,
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
    )


def small_server(home: Home, group: str) -> dict[str, Any]:
    """RunInstances' parameters for a server of the default image in a new group, which lets SSH in from the host."""
    ec2, endpoint = client(home, "ec2"), home.endpoint()
    assert endpoint is not None
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = ec2.create_security_group(GroupName=group, Description="SSH from the host", VpcId=vpc)
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": f"{endpoint.loopback}/32"}]}
    ec2.authorize_security_group_ingress(GroupId=made["GroupId"], IpPermissions=[rule])
    return {
        "ImageId": ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
        "InstanceType": "t3.small",
        "SecurityGroupIds": [made["GroupId"]],
    }


def server_with(home: Home, folder: Path, program: Path) -> list[str]:
    """A server that has the program, and what a command on it goes behind; its key is left in the folder."""
    _, argv = server_with_key(home, folder)
    subprocess.run([*argv, f"cat > {program.name}"], input=program.read_bytes(), check=True)
    return argv


def server_with_key(home: Home, folder: Path) -> tuple[str, list[str]]:
    """The id of a server that SSH reaches, and what a command on it goes behind; its key is left in the folder."""
    ec2, key = client(home, "ec2"), folder / "bench.pem"
    key.touch(mode=0o600)
    key.write_text(ec2.create_key_pair(KeyName="bench", KeyType="ed25519")["KeyMaterial"])
    request = {**small_server(home, "bench"), "KeyName": "bench", "MinCount": 1, "MaxCount": 1}
    instance = ec2.run_instances(**request)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    address = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["PublicIpAddress"]
    await_banner(address)
    return instance, ssh_argv(address, key, "ec2-user")

"""`skylift run --on aws` as a process sees it, with boto3 pointed at moto: an EC2, IAM, S3 and SSM we did not write."""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto import backends
from support.agent_bench import Machine
from support.whole_run import host

from skylift.cli.main import perform
from skylift.client.job.image_choice import PUBLISHED
from skylift.client.job.settings import Settings
from skylift.client.launch.cap import GROUP
from skylift.client.launch.network import find_network
from skylift.client.remote.api import Api

REGION = "eu-central-1"


@pytest.fixture
def on_aws(settings: Settings, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Credentials, region and endpoint where boto3 looks for them, in another region than the other tests."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "SKYLIFT_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    # moto fails, where AWS says that there is no group of this name.
    backends.get_backend("scheduler")["123456789012"][REGION].create_schedule_group(GROUP, [])
    return Api(replace(settings, region=REGION))


def started(api: Api) -> dict[str, Any]:
    """The one instance there ever was."""
    (reservation,) = api.pages("ec2", "describe_instances", "Reservations")
    (found,) = reservation["Instances"]
    return dict(found)


def test_a_whole_run(on_aws: Api, machine: Machine, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Path("job.py").write_text(
        "# /// script\n# [tool.skylift]\n# on = 'aws'\n# image = 'amazon-linux-2023'\n# type = 't4g.small'\n"
        "# ssh-from = '198.51.100.7'\n# out = ['r.txt']\n# ///\n"
        "import os\nprint(os.environ['AWS_REGION'])\nopen('r.txt', 'w').write('42')\nraise SystemExit(5)\n"
    )
    with host(on_aws, machine):
        code = perform(["run", "--trust-project", "job.py"])
    machine.wait()
    out, err = capfdbinary.readouterr()
    assert (code, out) == (5, f"{REGION}\n".encode()), err
    assert b"t4g.small in eu-central-1 (AWS)" in err
    assert Path("r.txt").read_text() == "42"
    arm = on_aws.call("ssm", "get_parameter", Name=PUBLISHED["amazon-linux-2023"].parameters["arm64"])
    instance = started(on_aws)
    assert instance["ImageId"] == arm["Parameter"]["Value"]
    assert b"no public address" not in err
    assert instance["Placement"]["AvailabilityZone"].startswith(REGION)
    network = find_network(on_aws)
    assert network is not None
    assert network.callers == {"198.51.100.7/32"}
    assert instance["State"]["Name"] == "terminated"
    assert on_aws.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    location = on_aws.call("s3", "get_bucket_location", Bucket=f"skylift-123456789012-{REGION}")
    assert location["LocationConstraint"] == REGION


def test_private_in_a_subnet_of_the_users(
    on_aws: Api, machine: Machine, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_is_asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the public address of this machine is of no use here")

    monkeypatch.setattr("skylift.client.launch.aws_settings.public_address", nobody_is_asked)
    monkeypatch.setattr(urllib.request, "urlopen", nobody_is_asked)
    vpc = on_aws.call("ec2", "create_vpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = on_aws.call("ec2", "create_subnet", VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone=f"{REGION}b")
    subnet = made["Subnet"]["SubnetId"]
    within = [{"Name": "vpc-id", "Values": [vpc]}]
    (table,) = on_aws.call("ec2", "describe_route_tables", Filters=within)["RouteTables"]
    s3 = {"ServiceName": f"com.amazonaws.{REGION}.s3", "RouteTableIds": [table["RouteTableId"]]}
    on_aws.call("ec2", "create_vpc_endpoint", VpcId=vpc, **s3)
    Path("job.py").write_text("print('out')\n")
    monkeypatch.setenv("SKYLIFT_ON", "aws")
    with host(on_aws, machine):
        code = perform(["run", "--image", "amazon-linux-2023", "--private", "--subnet", subnet, "job.py"])
    machine.wait()
    out, err = capfd.readouterr()
    assert (code, out) == (0, "out\n"), err
    assert f"{vpc}, no public address" in err
    instance = started(on_aws)
    assert instance["SubnetId"] == subnet
    assert "at no public address" in err
    blocks = {each["CidrBlock"] for each in on_aws.call("ec2", "describe_vpcs")["Vpcs"]}
    assert blocks == {"172.31.0.0/16", "10.9.0.0/16"}


def test_image_that_the_region_lacks(on_aws: Api, capfd: pytest.CaptureFixture[str]) -> None:
    Path("job.py").touch()
    assert perform(["run", "--on", "aws", "--ssh-from", "198.51.100.7", "--image", "ubuntu-24.04", "job.py"]) == 125
    assert "no image ubuntu-24.04 in eu-central-1" in capfd.readouterr().err
    assert on_aws.call("s3", "list_buckets")["Buckets"] == []


@pytest.mark.parametrize(
    ("settings_file", "words"),
    [
        ("[profile x", "Unable to parse config file"),
        ("[profile x]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = gone\n", '"gone"'),
        ("[profile x]\ncredential_process = /nowhere/program\n", "/nowhere/program"),
        ("[profile x]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /nowhere/token\n", "/nowhere/token"),
        ("[profile x]\nendpoint_url = nonsense\naws_access_key_id = a\naws_secret_access_key = b\n", "nonsense"),
        (
            "[profile x]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
            "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.org/\n",
            "aws sso login",
        ),
    ],
)
def test_settings_that_cannot_be_used(
    on_aws: Api,
    settings_file: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config").write_text(settings_file)
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "x")
    assert perform(["ps", "--on", "aws"]) == 2
    err = capfd.readouterr().err
    assert words in err
    assert "Traceback" not in err

"""docs/by-hand.md: its commands, word for word, from top to bottom, with both versions of the AWS CLI."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.loaders import Loader
from support.loaded_aws import loaded_aws
from support.real_cloud import RealCloud, real_cloud

from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[2] / "docs/by-hand.md"
ONE, TWO = "aws-cli/1", "aws-cli/2"
FINGERPRINTS = (r"[A-Za-z0-9+/]{43}=", "(?:[0-9a-f]{2}:){19}[0-9a-f]{2}", "(?:[0-9a-f]{2}:){15}[0-9a-f]{2}")


@dataclass(frozen=True)
class Walk:
    cloud: RealCloud
    done: subprocess.CompletedProcess[str]

    @property
    def lines(self) -> list[str]:
        return self.done.stdout.splitlines()

    def line(self, pattern: str) -> re.Match[str]:
        """The one line of what was printed that is like this."""
        found = [match for line in self.lines if (match := re.fullmatch(pattern, line))]
        assert len(found) == 1, (pattern, found)
        return found[0]


@pytest.fixture(scope="module")
def walks(image_home: Home, request: pytest.FixtureRequest) -> Iterator[dict[str, Walk]]:
    """The page as it was walked with each version that is asked for, side by side: the AWS CLI keeps one core busy, and
    no more."""
    cases = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {case.params.get("walked") for case in cases if case is not None}
    programs = {version: aws for version in (ONE, TWO) if version in wanted and (aws := aws_cli(version))}
    with ExitStack() as clear, ThreadPoolExecutor(2) as pool:
        clouds = {version: clear.enter_context(real_cloud(image_home)) for version in programs}
        started = {
            version: pool.submit(walk, cloud, programs[version], f"aws-{number}")
            for number, (version, cloud) in enumerate(clouds.items(), 1)
        }
        yield {version: Walk(clouds[version], work.result()) for version, work in started.items()}


# A walk starts the AWS CLI for each of a hundred commands, and again in loops. Version 1 is loaded once for all of
# them; version 2 takes a second of processor time each.
@pytest.fixture(params=[ONE, pytest.param(TWO, marks=pytest.mark.nightly)])
def walked(walks: dict[str, Walk], request: pytest.FixtureRequest) -> Walk:
    if request.param not in walks:
        pytest.skip(f"{request.param} is not here (Debian's package awscli is version 2)")
    walk = walks[request.param]
    assert walk.done.returncode == 0, f"{walk.done.stdout}\n{walk.done.stderr}"
    return walk


def aws_cli(version: str) -> str | None:
    """The index's package is in the environment that the tests run in, the distribution's where its programs are."""
    for place in (str(Path(sys.executable).parent), "/usr/bin"):
        program = shutil.which("aws", path=place)
        if program is None:
            continue
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        if version in told.stdout:
            return program
    return None


def walk(cloud: RealCloud, aws: str, name: str) -> subprocess.CompletedProcess[str]:
    folder = cloud.work / name
    (folder / "bin").mkdir(parents=True)
    with ExitStack() as clear:
        if Path(aws).parent == Path(sys.executable).parent:
            clear.enter_context(loaded_aws(folder / "bin"))
        else:
            (folder / "bin/aws").symlink_to(aws)
        return walk_the_page(cloud, folder)


def walk_the_page(cloud: RealCloud, folder: Path) -> subprocess.CompletedProcess[str]:
    # ssh takes its home directory from passwd and not from HOME, and it shall see nothing of this user's own. All of
    # /etc: a mount over the file alone is gone as soon as anybody adds a user, which puts another file in its place.
    etc = folder.parent / f"{folder.name}-etc"
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    me = pwd.getpwuid(os.getuid())
    users = (etc / "passwd").read_text().replace(f":{me.pw_gecos}:{me.pw_dir}:", f":{me.pw_gecos}:{folder}:")
    (etc / "passwd").write_text(users)
    page = f"mount --bind {etc} /etc\nset -euo pipefail\n{commands()}"
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", page],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env={
            **cloud.environment,
            "PATH": f"{folder / 'bin'}{os.pathsep}{cloud.environment['PATH']}",
            "HOME": str(folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DATA_PATH": str(quick_waiters(folder / "models")),
        },
    )


def quick_waiters(folder: Path) -> Path:
    """The AWS CLI's own models of what `aws ec2 wait` waits for, but asking each second, not each quarter of a minute:
    here what is waited for is there in a moment."""
    loader = Loader()
    version = loader.determine_latest_version("ec2", "waiters-2")
    model = loader.load_service_model("ec2", "waiters-2", version)
    # Version 2 of the CLI does not know all that botocore waits for.
    used = {command.title().replace("-", "") for command in re.findall(r"aws ec2 wait ([a-z-]+)", PAGE.read_text())}
    waiters = {
        name: {**waiter, "delay": 1, "maxAttempts": waiter["maxAttempts"] * waiter["delay"]}
        for name, waiter in model["waiters"].items()
        if name in used
    }
    assert waiters.keys() == used
    place = folder / "ec2" / version
    place.mkdir(parents=True)
    (place / "waiters-2.json").write_text(json.dumps({**model, "waiters": waiters}))
    return folder


def commands() -> str:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 20
    return "".join(blocks)


def test_every_command_works_as_it_stands_there(walked: Walk) -> None:
    walked.line("PuTTY-User-Key-File-2: ssh-ed25519")
    for fingerprint in FINGERPRINTS:
        walked.line(rf"({fingerprint}) \1")
    walked.line("ami-[0-9a-f]{17}\tskylift-debian-13-.*not an AWS image")
    walked.line(r"made by user data")
    walked.line(r"Python 3\.\d+\.\d+")
    walked.line(r"(.*\W)?hello from the REPL, 42")
    walked.line(r"(.*\W)?hello from ip-10-20-\d+-\d+\.ec2\.internal")
    # By the file processor: on the server, and on the one from its image.
    assert walked.lines.count("total 15") == 2
    # By its result: fetched, and still on the disk after a stop and a start.
    assert walked.lines.count('{"total": 15}') == 2


def test_connect_prints_the_steps(walked: Walk) -> None:
    walked.line(r" +chmod 400 by-hand\.pem")
    walked.line(r" +ssh -i by-hand\.pem ec2-user@127\.\d+\.\d+\.\d+")
    walked.line(r"\d\. .*fingerprint: SHA256:\S+")
    # In by Instance Connect.
    walked.line("ec2-user")


def test_the_private_server_reaches_out_while_it_has_a_route(walked: Walk) -> None:
    walked.line(r"ip-10-20-1[45]\d-\d+\.ec2\.internal")
    walked.line(r"six-[\d.]+-py2\.py3-none-any\.whl")
    walked.line("no way out")


def test_the_role_opens_s3_and_nothing_else(walked: Walk) -> None:
    bucket = walked.line(r"make_bucket: (by-hand-\d+-\d+)")[1]
    walked.line(rf"upload: \./file\.txt to s3://{bucket}/file\.txt\s*")
    walked.line("not allowed")
    assert re.search(
        r"\(UnauthorizedOperation\).* is not authorized to perform: ec2:DescribeInstances", walked.done.stderr
    )
    # Seen from outside.
    walked.line(r"[-\d]+ [:\d]+ +0 file\.txt")


def test_a_command_runs_without_ssh(walked: Walk) -> None:
    walked.line(r"root of ip-10-20-\d+-\d+\.ec2\.internal")


def test_a_public_address_is_new_after_a_stop(walked: Walk) -> None:
    was, now = walked.line(r"was at (\S+), is at (\S+)").groups()
    assert was != now


def test_a_data_volume_is_there_to_write_to(walked: Walk) -> None:
    walked.line("/mnt/sdf/orders.csv")


def test_the_group_heals_and_says_why(walked: Walk) -> None:
    walked.line(r"At \S+ an instance was launched in response to an unhealthy instance needing to be replaced\.")
    assert {walked.line(rf"({name})\t\S+\t\d")[1] for name in ("night", "morning")} == {"night", "morning"}


def test_load_brings_a_server(walked: Walk) -> None:
    walked.line(r"At \S+ a monitor alarm by-hand-busy in state ALARM triggered policy more changing .* to \d\..*")


def test_nothing_is_left(walked: Walk) -> None:
    assert left_over(walked.cloud) == []


def left_over(cloud: RealCloud) -> list[str]:
    """What the page made and did not put away."""
    ec2, iam = cloud.ec2, cloud.client("iam")
    instances = [one for each in ec2.describe_instances()["Reservations"] for one in each["Instances"]]
    # Three by hand; the group had two, one in the place of the one that died, and what load brought, one a minute.
    assert len(instances) in (7, 8)
    gateways = ec2.describe_nat_gateways()["NatGateways"]
    groups = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return [
        *(one["AutoScalingGroupName"] for one in groups),
        *(one["InstanceId"] for one in instances if one["State"]["Name"] != "terminated"),
        *(one["NatGatewayId"] for one in gateways if one["State"] != "deleted"),
        *(one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"] if not one["IsDefault"]),
        *(one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]),
        *(one["AllocationId"] for one in ec2.describe_addresses()["Addresses"]),
        *(one["ImageId"] for one in ec2.describe_images(Owners=["self"])["Images"]),
        *(one["KeyName"] for one in ec2.describe_key_pairs()["KeyPairs"]),
        *(one["RoleName"] for one in iam.list_roles()["Roles"]),
        *(one["InstanceProfileName"] for one in iam.list_instance_profiles()["InstanceProfiles"]),
        *(one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"]),
    ]

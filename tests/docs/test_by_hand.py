"""docs/by-hand.md: its commands, word for word, from top to bottom."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cloud import RealCloud, real_cloud

from skylift.cloud.home import Home

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[2] / "docs/by-hand.md"


@pytest.fixture
def cloud(image_home: Home) -> Iterator[RealCloud]:
    with real_cloud(image_home) as made:
        yield made


def commands() -> str:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    return "".join(blocks)


def test_every_command_works_as_it_stands_there(cloud: RealCloud) -> None:
    folder = cloud.work / "by-hand"
    folder.mkdir()
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{commands()}"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        # Nothing of this user's own: settings of ssh or aws, or keys.
        env={**cloud.environment, "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("Python 3.")]
    assert [line for line in lines if line.startswith("hello from ip-")]
    # The sum of the table's column.
    assert "15" in lines
    assert [line for line in lines if line.startswith("upload: ./file.txt to s3://by-hand-")]
    # Seen from outside.
    assert [line for line in lines if re.fullmatch(r"[-\d]+ [:\d]+ +0 file\.txt", line)]
    assert left_over(cloud) == []


def left_over(cloud: RealCloud) -> list[str]:
    """What the page made and did not put away."""
    found = cloud.ec2.describe_instances()["Reservations"]
    instances = [one for each in found for one in each["Instances"]]
    assert len(instances) == 2
    return [
        *(one["InstanceId"] for one in instances if one["State"]["Name"] != "terminated"),
        *(one["KeyName"] for one in cloud.ec2.describe_key_pairs()["KeyPairs"]),
        *(
            one["GroupName"]
            for one in cloud.ec2.describe_security_groups()["SecurityGroups"]
            if one["GroupName"] != "default"
        ),
        *(one["RoleName"] for one in cloud.client("iam").list_roles()["Roles"]),
        *(one["InstanceProfileName"] for one in cloud.client("iam").list_instance_profiles()["InstanceProfiles"]),
        *(one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"]),
    ]

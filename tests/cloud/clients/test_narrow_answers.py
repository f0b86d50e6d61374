"""The runner's client, asked for some members of an answer only."""

from __future__ import annotations

from pathlib import Path

from serverless_cloud import ACCOUNT, REGION, Cloud

from skylift.runner.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.runner.remote.api import Api

NAMES = (("Vpc", ("VpcId", "Tags")),)


def test_only_what_was_asked_for_is_read_and_other_clients_know_all(cloud: Cloud, tmp_path: Path) -> None:
    api = Api(
        Settings(
            region=REGION,
            key_dir=tmp_path,
            image=NewestImage("none", ("self",)),
            caller_address=lambda: "127.0.0.1",
            endpoint_url=cloud.url,
            credentials=Credentials(cloud.key, Secret(cloud.secret)),
            account=ACCOUNT,
            billed=False,
        )
    )
    (brief,) = api.pages("ec2", "describe_vpcs", "Vpcs", only=NAMES)
    assert set(brief) <= {"VpcId", "Tags"}
    (whole,) = api.pages("ec2", "describe_vpcs", "Vpcs")
    assert whole["VpcId"] == brief["VpcId"]
    assert whole["CidrBlock"] == "172.31.0.0/16"
    assert set(api.pages("ec2", "describe_vpcs", "Vpcs", only=NAMES)[0]) <= {"VpcId", "Tags"}

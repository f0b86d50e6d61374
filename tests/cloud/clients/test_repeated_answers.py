"""A client of ours, asked for the same answer again and again."""

from __future__ import annotations

from pathlib import Path

import pytest
from serverless_cloud import ACCOUNT, REGION, Cloud

from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.remote.api import Api


@pytest.fixture
def api(cloud: Cloud, tmp_path: Path) -> Api:
    return Api(
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


def test_an_answer_is_read_again_when_it_says_something_else(api: Api, cloud: Cloud) -> None:
    first = api.look("ec2", "describe_vpcs", "Vpcs")
    assert api.look("ec2", "describe_vpcs", "Vpcs") is first
    tag = {"Key": "Name", "Value": "<requestId>x</requestId>"}
    cloud.client("ec2").create_tags(Resources=[first[0]["VpcId"]], Tags=[tag])
    second = api.look("ec2", "describe_vpcs", "Vpcs")
    assert second[0]["Tags"] == [tag]
    assert api.look("ec2", "describe_vpcs", "Vpcs") is second
    assert api.pages("ec2", "describe_vpcs", "Vpcs")[0]["Tags"] == [tag]

"""Where jobs may run."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from skylift.client.errors import UsageError
from skylift.client.job.settings import NewestImage, Settings


def settings(region: str, endpoint: str | None = None) -> Settings:
    return Settings(region, Path("keys"), NewestImage("x", ()), lambda: "192.0.2.1", endpoint)


PARTITIONS = [
    (region, partition)
    for partition in boto3.Session().get_available_partitions()
    for region in boto3.Session().get_available_regions("ec2", partition)
]


@pytest.mark.parametrize(("region", "partition"), PARTITIONS)
def test_a_region_of_another_partition_is_refused_by_name(region: str, partition: str) -> None:
    """Before anything is made: no ARN that skylift writes would be right there. The list is boto3's."""
    if partition == "aws":
        assert settings(region).region == region
        return
    with pytest.raises(UsageError, match=f"^{region} is in another partition of AWS"):
        settings(region)


def test_a_cloud_of_ones_own_may_be_called_like_one() -> None:
    assert settings("cn-north-1", "http://127.0.0.1:4566").region == "cn-north-1"

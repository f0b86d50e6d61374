"""The cloud's own service through botocore, by the model in the package: signed, and allowed by policies."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.session import Session
from serverless_cloud import Cloud

from skylift.cloud.wire.models import OWN_MODELS


def control(cloud: Cloud, key: str, secret: str) -> Any:
    core: Any = Session()
    core.get_component("data_loader").search_paths.append(str(OWN_MODELS))
    core.set_credentials(key, secret)
    return cloud.client_of(boto3.Session(botocore_session=core), "skylift")


def test_what_is_set_is_told(cloud: Cloud) -> None:
    client = control(cloud, cloud.key, cloud.secret)
    client.put_spot_price(InstanceType="t3.micro", AvailabilityZone="us-east-1a", SpotPrice="0.004")
    (price,) = client.describe_spot_prices()["SpotPrices"]
    assert (price["SpotPrice"], price["AvailabilityZone"]) == ("0.004000", "us-east-1a")
    with pytest.raises(ClientError, match="Invalid value 'x9' for InstanceType") as refused:
        client.put_capacity(InstanceType="x9", InstanceCount=1)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_user_needs_permission_for_it(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName="trader")
    made = iam.create_access_key(UserName="trader")["AccessKey"]
    client = control(cloud, made["AccessKeyId"], made["SecretAccessKey"])
    with pytest.raises(ClientError, match="not authorized to perform: skylift:DescribeQuotas"):
        client.describe_quotas()
    allowed = {"Statement": {"Effect": "Allow", "Action": "skylift:Describe*", "Resource": "*"}}
    iam.put_user_policy(UserName="trader", PolicyName="looks", PolicyDocument=json.dumps(allowed))
    assert client.describe_quotas()["Quotas"] == []
    with pytest.raises(ClientError, match="not authorized to perform: skylift:PutQuota"):
        client.put_quota(InstanceClass="standard", MarketType="spot", VCpus=1)

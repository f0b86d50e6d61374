"""boto3 asks Service Quotas as on AWS: signed for `servicequotas`, in its own JSON."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import Cloud


def test_what_is_not_set_is_said_in_the_models_own_error(cloud: Cloud) -> None:
    quotas = cloud.client("service-quotas")
    assert quotas.list_service_quotas(ServiceCode="ec2")["Quotas"] == []
    with pytest.raises(quotas.exceptions.NoSuchResourceException, match="skylift cloud quota standard VCPUS"):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")
    with pytest.raises(ClientError, match="RequestServiceQuotaIncrease"):
        quotas.request_service_quota_increase(ServiceCode="ec2", QuotaCode="L-1216C47A", DesiredValue=64.0)

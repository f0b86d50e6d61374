from __future__ import annotations

import pytest

from skylift.cloud.services.api.service_principal import exists
from skylift.cloud.services.api.service_role import SERVICES as SERVICES_WITH_ROLES


@pytest.mark.parametrize(
    "principal",
    """
    ec2.amazonaws.com lambda.amazonaws.com ecs-tasks.amazonaws.com scheduler.amazonaws.com vpc-flow-logs.amazonaws.com
    monitoring.rds.amazonaws.com delivery.logs.amazonaws.com appconfig.amazonaws.com credentials.deadline.amazonaws.com
    ec2.eu-central-1.amazonaws.com logs.us-gov-west-1.amazonaws.com us-west-1.elasticache-snapshot.amazonaws.com
    ec2.amazonaws.com.cn ec2.cn-north-1.amazonaws.com.cn states.eusc-de-east-1.amazonaws.com
    osis-pipelines.amazonaws.com dms-data-migrations.amazonaws.com tnb.amazonaws.com apptest.amazonaws.com
    dnssec-route53.amazonaws.com s3-something-new.amazonaws.com
    api-service.dnssec.route53.aws.internal alexa-appkit.amazon.com
    """.split(),
)
def test_services_of_aws(principal: str) -> None:
    assert exists(principal)


@pytest.mark.parametrize(
    "principal",
    """
    nothing.amazonaws.com codepipeiine.amazonaws.com tagging.amazonaws.com s3files.amazonaws.com
    bedrock-agent.amazonaws.com ecz-fleet.amazonaws.com ec2-.amazonaws.com
    ec2.nowhere.amazonaws.com eu-central-1.amazonaws.com .amazonaws.com
    ec2..amazonaws.com #.amazonaws.com
    """.split(),
)
def test_what_no_list_of_aws_has(principal: str) -> None:
    """IAM was seen to refuse the first five: those that have no misspelling in them are in botocore."""
    assert not exists(principal)


def test_each_service_with_a_role_of_its_own_is_known() -> None:
    assert [service for service in SERVICES_WITH_ROLES if not exists(service)] == []

"""Service Quotas knows the quotas that launches are refused by, under AWS's codes, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import ACCOUNT, Account, allow, refused

from skylift.cloud.domain.market import Market, VcpuQuota
from skylift.cloud.services.ec2.capacity import FAMILIES, STANDARD
from skylift.cloud.services.quotas.quota import CODES

ON_DEMAND, SPOT = "L-1216C47A", "L-34B43A08"


@pytest.fixture(autouse=True)
def quotas_fixture(account: Account) -> None:
    with account.database.write() as tx:
        for market, vcpus in (("on-demand", 32), ("spot", 8)):
            kind: Market = "spot" if market == "spot" else "on-demand"
            tx.add(VcpuQuota("standard", kind, vcpus))


def ask(account: Account, operation: str, **params: Any) -> Any:
    return account.call("service-quotas", operation, **{"ServiceCode": "ec2", **params})


@pytest.mark.parametrize("operation", ["GetServiceQuota", "GetAWSDefaultServiceQuota"])
def test_a_quota_that_is_set_has_its_code_and_value(account: Account, operation: str) -> None:
    found = ask(account, operation, QuotaCode=ON_DEMAND)["Quota"]
    assert (found["Value"], found["Unit"], found["GlobalQuota"]) == (32.0, "None", False)
    assert found["QuotaName"] == "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"
    assert found["QuotaArn"] == f"arn:aws:servicequotas:{account.root.region}:{ACCOUNT}:ec2/{ON_DEMAND}"
    assert found["UsageMetric"]["MetricDimensions"]["Class"] == "Standard/OnDemand"
    assert ask(account, operation, QuotaCode=SPOT)["Quota"]["Value"] == 8.0


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"QuotaCode": "L-DB2E81BA"}, "skylift cloud quota g VCPUS"),
        ({"QuotaCode": "L-3819A6DF"}, "skylift cloud quota g VCPUS --spot"),
        ({"QuotaCode": "L-00000000"}, "There is no service quota L-00000000 of ec2."),
        ({"ServiceCode": "s3", "QuotaCode": ON_DEMAND}, "There are no quotas of the service s3."),
    ],
)
def test_one_that_is_not_set_is_not_there(account: Account, params: dict[str, str], says: str) -> None:
    with refused("NoSuchResourceException", says):
        ask(account, "GetServiceQuota", **params)


def test_those_that_are_set_are_listed_by_pages(account: Account) -> None:
    first = ask(account, "ListServiceQuotas", MaxResults=1)
    rest = ask(account, "ListServiceQuotas", MaxResults=1, NextToken=first["NextToken"])
    assert [each["QuotaCode"] for each in (*first["Quotas"], *rest["Quotas"])] == [ON_DEMAND, SPOT]
    assert "NextToken" not in rest
    (one,) = ask(account, "ListServiceQuotas", QuotaCode=SPOT)["Quotas"]
    assert one["QuotaCode"] == SPOT
    with refused("InvalidPaginationTokenException"):
        ask(account, "ListServiceQuotas", NextToken="x")
    with refused("NoSuchResourceException"):
        ask(account, "ListServiceQuotas", ServiceCode="x")


def test_each_class_of_types_that_aws_counts_has_a_code() -> None:
    families = {STANDARD, *FAMILIES.values()}
    assert {each.family for each in CODES if each.market == "on-demand"} == families - {"mac"}
    assert {each.family for each in CODES} <= families
    assert len({each.code for each in CODES}) == len({(each.family, each.market) for each in CODES}) == len(CODES)


def test_who_may_not_ask_is_refused(account: Account) -> None:
    user = account.user("ann", allow("servicequotas:ListServiceQuotas"))
    assert ask(account, "ListServiceQuotas", caller=user)["Quotas"]
    with refused("AccessDenied", "servicequotas:GetServiceQuota"):
        ask(account, "GetServiceQuota", caller=user, QuotaCode=SPOT)

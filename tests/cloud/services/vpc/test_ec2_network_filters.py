"""Every filter that EC2's model documents for an operation about networks is one here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from ec2_fixtures import ec2_model

from skylift.cloud.services.vpc import (
    address,
    dhcp_options,
    gateway,
    interface,
    nat_gateway,
    network_acl,
    route,
    security_group,
    subnet,
    vpc,
)

NAME = re.compile(r"<li> <p> <code>([^<]+)</code>")
# Tags are filtered by everywhere in the same way; the model spells the first one `tag` or `tag:&lt;key&gt;`.
TAGS = re.compile(r"tag(-key|:.*)?")


@pytest.mark.parametrize(
    ("operation", "known"),
    [
        ("DescribeAddresses", address.FILTERS),
        ("DescribeDhcpOptions", dhcp_options.LISTING.filters),
        ("DescribeInternetGateways", gateway.LISTING.filters),
        ("DescribeNatGateways", nat_gateway.LISTING.filters),
        ("DescribeNetworkAcls", network_acl.LISTING.filters),
        ("DescribeNetworkInterfaces", interface.LISTING.filters),
        ("DescribeRouteTables", route.LISTING.filters),
        ("DescribeSecurityGroupRules", security_group.RULES.filters),
        ("DescribeSecurityGroups", security_group.LISTING.filters),
        ("DescribeSubnets", subnet.LISTING.filters),
        ("DescribeVpcs", vpc.LISTING.filters),
    ],
)
def test_documented_filters(operation: str, known: Mapping[str, str]) -> None:
    shape = ec2_model().operation_model(operation).input_shape
    assert shape is not None
    member = shape.members.get("Filters") or shape.members["Filter"]
    documented = NAME.findall(member.documentation)
    assert documented
    assert [name for name in documented if name not in known and not TAGS.fullmatch(name)] == []
